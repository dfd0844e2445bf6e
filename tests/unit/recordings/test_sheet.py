import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.iq import encode
from heimdall_core.recordings.plan import SessionPlan
from heimdall_core.recordings.planning import plan_sessions
from heimdall_core.recordings.reading import read_planned
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import RecordedSession

RNG = np.random.default_rng(1)
SAMPLES = (0.1 * RNG.standard_normal((4300, 2))).astype("f4").view("c8")[:, 0]
COLUMNS = (
    "file,session,source,source_latitude,source_longitude,frequency_hz,"
    "receiver,receiver_latitude,receiver_longitude,receiver_altitude_m,started_at,sample_rate_hz,"
    "center_frequency_hz,noise_floor_dbfs,error_margin_m,power_dbm,group"
)
CELLS = {
    "file": "a.npy",
    "session": "s1",
    "source": "Beacon",
    "source_latitude": "44.9",
    "source_longitude": "8.2",
    "frequency_hz": "145.5e6",
    "receiver": "Torino",
    "receiver_latitude": "45.04",
    "receiver_longitude": "7.67",
    "receiver_altitude_m": "250",
    "started_at": "2025-03-01T12:00:00Z",
    "sample_rate_hz": "12500",
}


def line(**cells: str) -> str:
    values = CELLS | cells
    return ",".join(values.get(column, "") for column in COLUMNS.split(","))


def sheet(*lines: str) -> bytes:
    return "\n".join((COLUMNS, *lines)).encode()


def npy(samples: Any = SAMPLES) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, samples)
    return buffer.getvalue()


def sdr_pair(name: str, datatype: str = "cf32_le", **capture: Any) -> dict[str, bytes]:
    """A recording as SDR software writes it: no receiver, no place, often no time."""
    about = {"core:version": "1.0.0", "core:datatype": datatype, "core:sample_rate": 12500, "core:hw": "SDR"}
    captures = [{"core:sample_start": 0, "core:frequency": 145.5e6} | capture]
    document = {"global": about, "captures": captures, "annotations": []}
    return {
        f"{name}.sigmf-meta": json.dumps(document).encode(),
        f"{name}.sigmf-data": encode(SAMPLES, datatype),  # type: ignore[arg-type]
    }


def with_global(files: dict[str, bytes], **about: Any) -> dict[str, bytes]:
    (meta,) = (name for name in files if name.endswith("-meta"))
    document = json.loads(files[meta])
    document["global"] |= {key.replace("__", ":"): value for key, value in about.items()}
    return files | {meta: json.dumps(document).encode()}


def read(
    files: dict[str, bytes],
) -> tuple[list[tuple[SessionPlan, RecordedSession]], list[RefusedFile]]:
    sessions, refused = [], []
    for plan in plan_sessions({name: lambda d=data: d for name, data in files.items()}):
        if isinstance(plan, RefusedFile):
            refused.append(plan)
            continue
        for outcome in read_planned(plan, files.__getitem__, FeatureSettings()):
            if isinstance(outcome, RefusedFile):
                refused.append(outcome)
            else:
                sessions.append((plan, outcome))
    return sessions, refused


def test_npy_files_become_sessions_of_several_receivers():
    lines = [
        line(group="north", error_margin_m="10", power_dbm="40", noise_floor_dbfs="-50"),
        line(file="b.npy", receiver="Genova", group="north", error_margin_m="10", power_dbm="40"),
        line(file="c.npy", session="s2"),
    ]
    files = {"day/recordings.csv": sheet(*lines), **{f"day/{n}.npy": npy() for n in "abc"}}
    sessions, refused = read(files)
    assert refused == []
    assert [(plan.file, plan.split_group) for plan, _ in sessions] == [
        ("day/recordings.csv:2", "north"),
        ("day/recordings.csv:4", None),
    ]
    first = sessions[0][1]
    assert (first.name, first.source.error_margin_m, first.source.power_dbm) == ("s1", 10, 40)
    assert first.started_at == datetime(2025, 3, 1, 12, tzinfo=UTC)
    torino, genova = first.recordings
    assert (torino.receiver.name, torino.receiver.altitude_m, genova.receiver.name) == (
        "Torino",
        250,
        "Genova",
    )
    assert (torino.noise_floor_dbfs, genova.noise_floor_dbfs) == (-50, None)
    assert (torino.sample_rate_hz, torino.center_frequency_hz, torino.format) == (12_500, 145.5e6, "cf32_le")
    assert np.array_equal(torino.samples, SAMPLES)


@pytest.mark.parametrize("stated", ["x", "x.sigmf-meta", "x.sigmf-data", "./x"])
@pytest.mark.parametrize(("datatype", "step"), [("cf32_le", 0), ("ci16_le", 1 / 32768), ("cu8", 1 / 127.5)])
def test_foreign_sigmf_becomes_a_session_through_its_line(stated, datatype, step):
    files = {"recordings.csv": sheet(line(file=stated, sample_rate_hz="")), **sdr_pair("x", datatype)}
    ((_, session),), refused = read(files)
    assert refused == []
    (recording,) = session.recordings
    assert (recording.receiver.name, recording.receiver.latitude) == ("Torino", 45.04)
    assert (recording.sample_rate_hz, recording.format) == (12_500, datatype)
    assert np.abs(recording.samples - np.clip(SAMPLES.view("f4"), -1, 1).view("c8")).max() <= step


def test_what_the_metadata_state_need_not_be_repeated():
    place = {"type": "Point", "coordinates": [7.67, 45.04]}
    files = with_global(
        sdr_pair("x", **{"core:datetime": "2025-03-01T12:00:00Z", "core:geolocation": place}),
        heimdall__receiver="Torino",
        heimdall__noise_floor_dbfs=-50,
        heimdall__source={
            "name": "Beacon",
            "frequency_hz": 145.5e6,
            "latitude": 44.9,
            "longitude": 8.2,
            "error_margin_m": 5,
        },
    )
    empty = dict.fromkeys(list(CELLS)[6:], "")
    files["recordings.csv"] = sheet(line(file="x", power_dbm="30", **empty))
    ((_, session),), refused = read(files)
    assert refused == []
    assert session.recordings[0].noise_floor_dbfs == -50
    assert (session.source.error_margin_m, session.source.power_dbm) == (5, 30)


CONFLICTS = {
    "receiver": ({"receiver": "Turin"}, "'Turin', heimdall:receiver of the metadata states 'Torino'"),
    "latitude": ({"receiver_latitude": "45.05"}, "45.05, core:geolocation of the metadata states 45.04"),
    "time": ({"started_at": "2025-03-01T12:00:01Z"}, "core:datetime of the metadata"),
    "rate": ({"sample_rate_hz": "48000"}, "core:sample_rate of the metadata states 12500.0"),
    "frequency": ({"center_frequency_hz": "145.5001e6"}, "core:frequency of the metadata"),
    "floor": ({"noise_floor_dbfs": "-51"}, "heimdall:noise_floor_dbfs of the metadata states -50.0"),
    "session": ({"session": "s2"}, "heimdall:session of the metadata states 's1'"),
    "source": ({"source_latitude": "44.91"}, "heimdall:source of the metadata states 44.9"),
}


@pytest.mark.parametrize(("cells", "words"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_line_that_contradicts_the_metadata_is_refused_naming_both(cells, words):
    place = {"type": "Point", "coordinates": [7.67, 45.04]}
    source = {"name": "Beacon", "frequency_hz": 145.5e6, "latitude": 44.9, "longitude": 8.2}
    files = with_global(
        sdr_pair("x", **{"core:datetime": "2025-03-01T12:00:00Z", "core:geolocation": place}),
        heimdall__receiver="Torino",
        heimdall__noise_floor_dbfs=-50,
        heimdall__session="s1",
        heimdall__source=source,
    )
    files |= {"recordings.csv": sheet(line(file="x"))}
    assert read(files)[1] == []
    sessions, (refused,) = read(files | {"recordings.csv": sheet(line(file="x", **cells))})
    assert sessions == []
    assert (refused.name, refused.code) == ("recordings.csv:2", "sheet_conflict")
    assert words in refused.message
    assert f"column {next(iter(cells))}" in refused.message


BAD_LINES = {
    "no session": (line(session=""), "csv_missing_value", "column session"),
    "no file": (line(file=""), "csv_missing_value", "column file"),
    "no receiver": (line(receiver=""), "csv_missing_value", "column receiver"),
    "no time": (line(started_at=""), "csv_missing_value", "column started_at"),
    "no rate": (line(sample_rate_hz=""), "csv_missing_value", "column sample_rate_hz"),
    "half a position": (line(receiver_longitude=""), "csv_missing_value", "column receiver_longitude"),
    "no position": (
        line(receiver_longitude="", receiver_latitude=""),
        "csv_missing_value",
        "receiver_latitude",
    ),
    "latitude": (line(receiver_latitude="95"), "bad_position", "column receiver_latitude"),
    "source longitude": (line(source_longitude="200"), "bad_position", "column source_longitude"),
    "rate text": (line(sample_rate_hz="12.5k"), "csv_bad_number", "'12.5k' is no number"),
    "rate zero": (line(sample_rate_hz="0"), "csv_out_of_range", "outside 1 to"),
    "nan": (line(noise_floor_dbfs="nan"), "not_finite", "column noise_floor_dbfs"),
    "naive time": (line(started_at="2025-03-01T12:00:00"), "bad_time", "time zone"),
    "margin": (line(error_margin_m="-1"), "csv_out_of_range", "column error_margin_m"),
    "control character": (line(receiver="a\x07b"), "csv_bad_text", "column receiver"),
    "too long a path": (line(file="x" * 300 + ".npy"), "csv_bad_text", "column file"),
    "outside": (line(file="../a.npy"), "bad_path", "column file"),
    "absolute": (line(file="/a.npy"), "bad_path", "column file"),
    "backslash": (line(file="day\\a.npy"), "bad_path", "column file"),
    "an archive": (line(file="a.sigmf"), "bad_path", "is an archive"),
    "absent": (line(file="nowhere.npy"), "missing_file", "nowhere.npy is not in the upload"),
    "cells": ("a.npy,s1", "csv_row_length", "has 2 cells"),
    "quote": ('"a.npy"x' + line()[5:], "csv_malformed", "line 2"),
}


@pytest.mark.parametrize(("bad", "code", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_by_number_with_a_remedy_and_the_rest_goes_on(bad, code, words):
    good = line(file="b.npy", session="s2")
    files = {"recordings.csv": sheet(bad, good), "a.npy": npy(), "b.npy": npy()}
    sessions, refused = read(files)
    assert [session.name for _, session in sessions] == ["s2"]
    told = next(r for r in refused if r.name == "recordings.csv:2")
    assert told.code == code
    assert words in told.message
    assert told.hint


BAD_SHEETS = {
    "empty": (b"", "empty", "has no header"),
    "only a header": (COLUMNS.encode(), "empty", "lists no recording"),
    "no source column": (sheet(line()).replace(b"source,", b"", 1), "csv_missing_column", "column source"),
    "unknown column": (sheet(line()).replace(b"group", b"colour", 1), "csv_unknown_column", "column colour"),
    "column twice": (sheet(line()).replace(b"group", b"file", 1), "csv_duplicate_column", "column file"),
    "not text": (b"\xff\xfe", "csv_bad_encoding", "line 1"),
}


@pytest.mark.parametrize(("data", "code", "words"), BAD_SHEETS.values(), ids=BAD_SHEETS)
def test_a_sheet_that_cannot_be_read_is_refused_and_other_folders_go_on(data, code, words):
    good = {"good/recordings.csv": sheet(line()), "good/a.npy": npy()}
    sessions, refused = read({"bad/recordings.csv": data, **good})
    assert [plan.file for plan, _ in sessions] == ["good/recordings.csv:2"]
    assert [(r.name, r.code) for r in refused] == [("bad/recordings.csv", code)]
    assert words in refused[0].message
    assert refused[0].hint


def test_files_beside_an_unreadable_sheet_are_not_told_one_by_one():
    sessions, refused = read({"day/recordings.csv": b"file\n", "day/a.npy": npy(), "b.npy": npy()})
    assert sessions == []
    assert [(r.name, r.code) for r in refused] == [
        ("day/recordings.csv", "csv_missing_column"),
        ("b.npy", "no_source"),
    ]


def test_present_but_unlisted_files_are_told_by_name():
    files = {"recordings.csv": sheet(line()), "a.npy": npy(), "deep/b.npy": npy(), **sdr_pair("deep/x")}
    sessions, refused = read(files)
    assert len(sessions) == 1
    assert sorted((r.name, r.code) for r in refused) == [
        ("deep/b.npy", "not_listed"),
        ("deep/x.sigmf-meta", "not_listed"),
    ]


def test_a_file_listed_twice_is_refused_the_second_time():
    inner = sheet(line(file="b.npy", session="s3"), line(file="c.npy", session="s4"))
    files = {
        "recordings.csv": sheet(line(), line(session="s2"), line(file="deep/b.npy", session="s5")),
        "deep/recordings.csv": inner,
        "a.npy": npy(),
        "deep/b.npy": npy(),
        "deep/c.npy": npy(),
    }
    sessions, refused = read(files)
    assert [session.name for _, session in sessions] == ["s1", "s5", "s4"]
    assert [(r.name, r.code) for r in refused] == [
        ("recordings.csv:3", "listed_twice"),
        ("deep/recordings.csv:2", "listed_twice"),
    ]
    assert "recordings.csv:2 lists a.npy too" in refused[0].message


def test_what_a_collection_lists_is_not_listed_again():
    source = {"name": "Beacon", "frequency_hz": 145.5e6, "latitude": 44.9, "longitude": 8.2}
    place = {"type": "Point", "coordinates": [7.67, 45.04]}
    files = with_global(
        sdr_pair("x", **{"core:datetime": "2025-03-01T12:00:00Z", "core:geolocation": place}),
        heimdall__receiver="Torino",
    )
    collection = {"core:streams": [{"name": "x"}], "heimdall:source": source}
    files["s.sigmf-collection"] = json.dumps({"collection": collection}).encode()
    files["recordings.csv"] = sheet(line(file="x"))
    sessions, refused = read(files)
    assert [plan.file for plan, _ in sessions] == ["s.sigmf-collection"]
    assert [(r.name, r.code) for r in refused] == [("recordings.csv:2", "listed_twice")]


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"source_latitude": "44.8"}, "source_latitude"),
        ({"group": "b"}, "group"),
        ({"power_dbm": "3"}, "power_dbm"),
    ],
)
def test_lines_of_a_session_that_differ_refuse_all_of_it(cells, column):
    lines = (line(), line(file="b.npy", receiver="Genova"), line(file="c.npy", receiver="Milano", **cells))
    files = {"recordings.csv": sheet(*lines, line(file="d.npy", session="s2"))}
    sessions, refused = read(files | {f"{n}.npy": npy() for n in "abcd"})
    assert [session.name for _, session in sessions] == ["s2"]
    assert [(r.name, r.code) for r in refused] == [
        (f"recordings.csv:{n}", "session_conflict") for n in (2, 3, 4)
    ]
    assert f"line 4 states another {column}" in refused[0].message
    assert f"line 2 states another {column}" in refused[2].message


def test_a_receiver_twice_in_a_session_is_refused_by_line():
    files = {"recordings.csv": sheet(line(), line(file="b.npy")), "a.npy": npy(), "b.npy": npy()}
    ((_, session),), refused = read(files)
    assert len(session.recordings) == 1
    assert [(r.name, r.code) for r in refused] == [("recordings.csv:3", "duplicate_receiver")]


BAD_CONTENT = {
    "nan": ({"a.npy": npy(np.full(4300, np.nan, np.complex64))}, "a.npy", "not_finite"),
    "short": ({"a.npy": npy(SAMPLES[:100])}, "a.npy", "truncated"),
    "complex128": ({"a.npy": npy(SAMPLES.astype(np.complex128))}, "a.npy", "bad_datatype"),
    "no meta": ({"x.sigmf-data": b""}, "x.sigmf-meta", "sigmf_missing_meta"),
    "no data": ({"x.sigmf-meta": b"{}"}, "x.sigmf-meta", "sigmf_missing_data"),
    "bad meta": ({"x.sigmf-data": b"", "x.sigmf-meta": b"{"}, "x.sigmf-meta", "bad_json"),
    "other": ({"x.wav": b"RIFF"}, "x.wav", "not_sigmf"),
}


@pytest.mark.parametrize(("spoiled", "name", "code"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_a_listed_file_that_cannot_be_read_is_refused_once_by_its_own_name(spoiled, name, code):
    stated = next(iter(spoiled)).removesuffix(".sigmf-data").removesuffix(".sigmf-meta")
    files = {"recordings.csv": sheet(line(file=stated), line(file="b.npy", session="s2")), "b.npy": npy()}
    sessions, refused = read(files | spoiled)
    assert [session.name for _, session in sessions] == ["s2"]
    assert [(r.name, r.code) for r in refused] == [(name, code)]
    assert refused[0].hint


def test_a_centre_away_from_the_source_is_refused():
    files = {"recordings.csv": sheet(line(center_frequency_hz="145.6e6")), "a.npy": npy()}
    assert [(r.name, r.code) for r in read(files)[1]] == [("recordings.csv:2", "off_channel")]


CELL = st.sampled_from(
    [*CELLS.values(), "b.npy", "x", "recordings.csv", "nan", "-1e400", "\x00", '"', ""]
) | st.text(max_size=5)


@given(rows=st.lists(st.lists(CELL, max_size=18), max_size=4), junk=st.binary(max_size=30))
def test_no_sheet_raises_anything_but_refusals(rows, junk):
    data = COLUMNS.encode() + b"\n" + "\n".join(",".join(row) for row in rows).encode() + junk
    files = {"recordings.csv": data, "a.npy": npy(), "b.npy": npy(SAMPLES[:10]), **sdr_pair("x")}
    sessions, refused = read(files)
    assert len(sessions) + len(refused) >= 1
    assert all(r.code and r.message for r in refused)


@given(st.binary(max_size=300))
def test_random_bytes_as_a_sheet_are_refused(data):
    sessions, refused = read({"recordings.csv": data})
    assert sessions == []
    assert refused
