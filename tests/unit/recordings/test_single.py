import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest

from heimdall_core.recordings.iq import encode
from heimdall_core.recordings.reading import InputFile, RefusedFile, read_sessions
from heimdall_core.recordings.session import RecordedSession

SOURCE = {"name": "Beacon", "frequency_hz": 145.5e6, "latitude": 44.9, "longitude": 8.2}
RNG = np.random.default_rng(1)
SAMPLES = (0.1 * RNG.standard_normal((4300, 2))).astype("f4").view("c8")[:, 0]


def pair(name: str, receiver: str, *, datatype: str = "cf32_le", **about: Any) -> dict[str, bytes]:
    """A recording that states its source itself; ``about``: members of ``global`` to add or (None) to drop."""
    stated = {
        "core:version": "1.2.0",
        "core:datatype": datatype,
        "core:sample_rate": 12500,
        "heimdall:receiver": receiver,
        "heimdall:source": SOURCE,
    } | {key.replace("__", ":"): value for key, value in about.items()}
    capture = {
        "core:sample_start": 0,
        "core:frequency": 145.5e6,
        "core:datetime": "2025-03-01T12:00:00Z",
        "core:geolocation": {"type": "Point", "coordinates": [8.0, 45.0]},
    }
    document = {"global": {k: v for k, v in stated.items() if v is not None}, "captures": [capture]}
    return {
        f"{name}.sigmf-meta": json.dumps(document).encode(),
        f"{name}.sigmf-data": encode(SAMPLES, datatype),  # type: ignore[arg-type]
    }


def read(files: dict[str, bytes]) -> tuple[list[RecordedSession], list[RefusedFile]]:
    outcomes = list(read_sessions([InputFile(name=n, read=lambda d=d: d) for n, d in files.items()]))
    sessions = [o for o in outcomes if isinstance(o, RecordedSession)]
    return sessions, [o for o in outcomes if isinstance(o, RefusedFile)]


@pytest.mark.parametrize(("datatype", "step"), [("cf32_le", 0), ("ci16_le", 1 / 32768), ("cu8", 1 / 127.5)])
def test_a_pair_that_states_its_source_is_a_session_with_its_levels_kept(datatype, step):
    (session,), refused = read(pair("day/torino", "Torino", datatype=datatype))
    assert refused == []
    assert (session.name, session.source.name) == ("torino", "Beacon")
    (recording,) = session.recordings
    assert recording.format == datatype
    assert session.started_at == recording.started_at
    assert np.abs(recording.samples - np.clip(SAMPLES.view("f4"), -1, 1).view("c8")).max() <= step


def test_pairs_of_one_session_and_source_are_one_session():
    files = pair("a/1", "Torino", heimdall__session="s") | pair("b/2", "Genova", heimdall__session="s")
    files |= pair("c/3", "Torino") | pair("d/3", "Torino")
    sessions, refused = read(files)
    assert refused == []
    assert [(s.name, [r.receiver.name for r in s.recordings]) for s in sessions] == [
        ("s", ["Torino", "Genova"]),
        ("3", ["Torino"]),
        ("3", ["Torino"]),
    ]


def test_an_archive_of_one_recording_needs_no_collection():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in pair("one/one", "Torino").items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (session,), refused = read({"x.sigmf": buffer.getvalue()})
    assert refused == []
    assert session.name == "one"


def test_two_sources_for_one_session_refuse_all_of_it_by_name():
    elsewhere = SOURCE | {"latitude": 45.9}
    files = pair("a", "Torino", heimdall__session="s") | pair("b", "Genova", heimdall__session="s")
    files |= pair("c", "Milano", heimdall__session="s", heimdall__source=elsewhere) | pair("d", "Torino")
    sessions, refused = read(files)
    assert [s.name for s in sessions] == ["d"]
    assert [(r.name, r.code, r.message.split()[-1]) for r in refused] == [
        ("a.sigmf-meta", "session_conflict", "c.sigmf-meta"),
        ("b.sigmf-meta", "session_conflict", "c.sigmf-meta"),
        ("c.sigmf-meta", "session_conflict", "a.sigmf-meta"),
    ]


def test_a_receiver_twice_in_a_session_is_refused_by_name():
    files = pair("a", "Torino", heimdall__session="s") | pair("b", "Torino", heimdall__session="s")
    (session,), refused = read(files)
    assert len(session.recordings) == 1
    assert [(r.name, r.code) for r in refused] == [("b.sigmf-meta", "duplicate_receiver")]


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"heimdall__source": None}, "no_source"),
        ({"heimdall__source": "Beacon"}, "no_source"),
        ({"heimdall__source": SOURCE | {"latitude": 91}}, "bad_position"),
        ({"heimdall__session": "a\nb"}, "bad_metadata"),
        ({"heimdall__receiver": None}, "no_receiver"),
        ({"core__sample_rate": None}, "bad_metadata"),
        ({"heimdall__source": SOURCE | {"frequency_hz": 145.6e6}}, "off_channel"),
    ],
)
def test_a_pair_that_lacks_something_is_refused_alone(about, code):
    sessions, refused = read(pair("a", "Torino", **about) | pair("b", "Torino"))
    assert [s.name for s in sessions] == ["b"]
    assert [(r.name, r.code) for r in refused] == [("a.sigmf-meta", code)]
    assert refused[0].hint


def test_a_slow_recording_must_state_its_noise_floor():
    slow = pair("a", "Torino", core__sample_rate=12000)
    assert [(r.name, r.code) for r in read(slow)[1]] == [("a.sigmf-meta", "no_noise_floor")]
    assert read(pair("a", "Torino", core__sample_rate=12000, heimdall__noise_floor_dbfs=-40))[1] == []


def test_what_states_no_source_is_told_all_three_ways():
    _, (refused,) = read(pair("a", "Torino", heimdall__source=None))
    for way in (".sigmf-collection", "heimdall:source", "recordings.csv"):
        assert way in (refused.hint or "")


def test_bad_samples_of_a_lone_recording_are_told_once():
    files = pair("a", "Torino")
    files["a.sigmf-data"] = files["a.sigmf-data"][:-3]
    sessions, refused = read(files)
    assert sessions == []
    assert [(r.name, r.code) for r in refused] == [("a.sigmf-data", "truncated")]


def test_a_collection_and_its_recording_must_not_contradict_each_other():
    files = pair("a", "Torino") | pair("b", "Genova", heimdall__source=SOURCE | {"name": "Other"})
    collection = {"core:streams": [{"name": "a"}, {"name": "b"}], "heimdall:source": SOURCE}
    files["s.sigmf-collection"] = json.dumps({"collection": collection}).encode()
    (session,), refused = read(files)
    assert [r.receiver.name for r in session.recordings] == ["Torino"]
    assert [(r.name, r.code) for r in refused] == [("b.sigmf-meta", "session_conflict")]


def test_a_channel_away_from_the_middle_is_refused_and_an_unknown_frequency_is_not():
    sessions, refused = read(
        pair("near", "Torino", heimdall__source=SOURCE | {"frequency_hz": 145.504e6})
        | pair("unknown", "Torino", heimdall__source=SOURCE | {"frequency_hz": 0})
        | pair("far", "Torino", heimdall__source=SOURCE | {"frequency_hz": 145.506e6})
    )
    assert [s.name for s in sessions] == ["near", "unknown"]
    assert [(r.name, r.code) for r in refused] == [("far.sigmf-meta", "off_channel")]
    assert "6000 Hz" in refused[0].message


@pytest.mark.parametrize("name", ["x.sigmf.gz", "x.sigmf.xz", "x.sigmf-data.ZST", "day/x.tar.gz"])
def test_compressed_files_are_refused_with_the_hint_to_unpack(name):
    _, (refused,) = read({name: b"whatever"})
    assert (refused.name, refused.code) == (name, "compressed")
    assert "Unpack" in (refused.hint or "")


def test_a_header_before_the_samples_is_refused():
    files = pair("a", "Torino")
    document = json.loads(files["a.sigmf-meta"])
    document["captures"][0]["core:header_bytes"] = 44
    files["a.sigmf-meta"] = json.dumps(document).encode()
    assert [r.code for r in read(files)[1]] == ["bad_datatype"]


def test_metadata_too_large_to_be_metadata_are_refused(monkeypatch):
    monkeypatch.setattr("heimdall_core.recordings.fields.MAX_DESCRIPTION_BYTES", 100)
    assert [r.code for r in read(pair("a", "Torino"))[1]] == ["too_large"]


def test_a_session_larger_than_an_archive_keeps_what_fits(monkeypatch):
    files = pair("a", "Torino", heimdall__session="s") | pair("b", "Genova", heimdall__session="s")
    monkeypatch.setattr("heimdall_core.recordings.files.MAX_ARCHIVE_BYTES", 50_000)
    (session,), refused = read(files)
    assert len(session.recordings) == 1
    assert [(r.name, r.code) for r in refused] == [("b.sigmf-data", "too_large")]


def test_samples_count_as_they_are_in_memory_and_too_many_are_not_decoded(monkeypatch):
    files = pair("a", "Torino")
    document = json.loads(files["a.sigmf-meta"])
    document["global"]["core:datatype"] = "cu8"
    files |= {"a.sigmf-meta": json.dumps(document).encode(), "a.sigmf-data": bytes(2 * 6_000)}
    assert len(read(files)[0]) == 1
    monkeypatch.setattr("heimdall_core.recordings.files.MAX_ARCHIVE_BYTES", 47_999)
    monkeypatch.setattr("heimdall_core.recordings.recording_reading.decode", None)
    assert [(r.name, r.code) for r in read(files)[1]] == [("a.sigmf-data", "too_large")]


@pytest.mark.parametrize("year", ["0001", "1969", "2201", "9999"])
def test_a_time_that_no_recording_was_made_at_is_refused(year):
    files = pair("a", "Torino")
    document = json.loads(files["a.sigmf-meta"])
    document["captures"][0]["core:datetime"] = f"{year}-12-31T23:59:59.999Z"
    files["a.sigmf-meta"] = json.dumps(document).encode()
    _, (refused,) = read(files)
    assert refused.code == "bad_time"
    assert "1970 to 2200" in refused.message
