import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.recordings import files
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.reading import InputFile, RefusedFile, read_sessions
from heimdall_core.recordings.session import RecordedSession

NAN = np.array([0.1, np.nan], "<f4").tobytes()
FOUR_SAMPLES = np.zeros(4, "<c8").tobytes()


def read(files: dict[str, bytes]) -> tuple[list[RecordedSession], list[RefusedFile]]:
    inputs = [InputFile(name=name, read=lambda data=data: data) for name, data in files.items()]
    outcomes = list(read_sessions(inputs))
    assert all(o.hint for o in outcomes if isinstance(o, RefusedFile)), "each refusal says what to do"
    sessions = [o for o in outcomes if isinstance(o, RecordedSession)]
    return sessions, [o for o in outcomes if isinstance(o, RefusedFile)]


def spoil_json(files: dict[str, bytes], path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a file's JSON; the collection then no longer states hashes, which would tell."""
    document = json.loads(files[path])
    change(document)
    files[path] = json.dumps(document).encode()
    collection = next(name for name in files if name.endswith("-collection"))
    whole = json.loads(files[collection])
    for stream in whole["collection"].get("core:streams", []):
        stream.pop("hash", None)
    files[collection] = json.dumps(whole).encode()


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], object]:
    """Sets a member of a JSON document."""

    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


def drop(*keys: Any) -> Callable[[dict[str, Any]], object]:
    """Removes a member of a JSON document."""

    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        del document[keys[-1]]

    return change


GEOLOCATION = ("captures", 0, "core:geolocation")

BAD_METADATA = {
    "wrong datatype": (put("global", "core:datatype", value="rf32_le"), "bad_datatype", "'rf32_le'"),
    "big endian": (put("global", "core:datatype", value="cf32_be"), "bad_datatype", "'cf32_be'"),
    "datatype no text": (put("global", "core:datatype", value=["cu8"]), "bad_datatype", "cannot be read"),
    "two channels": (put("global", "core:num_channels", value=2), "bad_datatype", "several"),
    "a header": (put("global", "core:header_bytes", value=44), "bad_datatype", "header"),
    "no global": (drop("global"), "bad_metadata", "'global'"),
    "no sample rate": (drop("global", "core:sample_rate"), "bad_metadata", "core:sample_rate"),
    "sample rate zero": (put("global", "core:sample_rate", value=0), "bad_metadata", "outside 1 to"),
    "sample rate text": (put("global", "core:sample_rate", value="12k"), "bad_metadata", "must be a number"),
    "sample rate huge": (put("global", "core:sample_rate", value=10**400), "bad_metadata", "not finite"),
    "no frequency": (drop("captures", 0, "core:frequency"), "bad_metadata", "core:frequency"),
    "floor true": (
        put("global", "heimdall:noise_floor_dbfs", value=True),
        "bad_metadata",
        "must be a number",
    ),
    "no receiver": (drop("global", "heimdall:receiver"), "no_receiver", "heimdall:receiver"),
    "receiver control": (put("global", "heimdall:receiver", value="a\nb"), "no_receiver", "printable"),
    "no capture": (put("captures", value=[]), "bad_metadata", "no capture"),
    "captures no list": (put("captures", value={"a": 1}), "bad_metadata", "no capture"),
    "two captures": (
        put("captures", value=[{"core:sample_start": 0}, {"core:sample_start": 9}]),
        "several_captures",
        "2 captures",
    ),
    "no time": (drop("captures", 0, "core:datetime"), "bad_time", "core:datetime"),
    "naive time": (put("captures", 0, "core:datetime", value="2025-01-01T00:00:00"), "bad_time", "time zone"),
    "no time at all": (put("captures", 0, "core:datetime", value="noon"), "bad_time", "noon"),
    "no geolocation": (drop(*GEOLOCATION), "no_geolocation", "core:geolocation"),
    "geolocation text": (put(*GEOLOCATION, value="here"), "no_geolocation", "core:geolocation"),
    "a polygon": (put(*GEOLOCATION, "type", value="Polygon"), "no_geolocation", "GeoJSON Point"),
    "one coordinate": (put(*GEOLOCATION, "coordinates", value=[8.0]), "no_geolocation", "GeoJSON Point"),
    "text coordinate": (put(*GEOLOCATION, "coordinates", value=["8", 45]), "bad_position", "number"),
    "bad latitude": (put(*GEOLOCATION, "coordinates", value=[8.0, 91.0]), "bad_position", "latitude 91"),
    "bad longitude": (put(*GEOLOCATION, "coordinates", value=[181, 45]), "bad_position", "longitude 181"),
    "in orbit": (put(*GEOLOCATION, "coordinates", value=[8, 45, 4e5]), "bad_position", "altitude"),
}


@pytest.mark.parametrize(("change", "code", "words"), BAD_METADATA.values(), ids=BAD_METADATA)
def test_bad_metadata_is_refused_by_name_and_the_other_recording_stays(loose_session, change, code, words):
    path = loose_session.path("-meta")
    spoil_json(loose_session.files, path, change)

    sessions, refused = read(loose_session.files)

    assert [(r.name, r.code) for r in refused] == [(path, code)]
    assert words in refused[0].message
    assert [r.receiver.name for s in sessions for r in s.recordings] == ["Receiver 1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "a list"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_bad_json_is_refused(loose_session, content, words):
    path = loose_session.path("-meta")
    spoil_json(loose_session.files, path, lambda _: None)
    loose_session.files[path] = content

    _, refused = read(loose_session.files)

    assert [(r.name, r.code) for r in refused] == [(path, "bad_json")]
    assert words in refused[0].message


BAD_DATA = {
    "empty": (lambda data: b"", "empty", "no samples"),
    "half a sample": (lambda data: data[:-3], "truncated", "8-byte cf32_le"),
    "short": (lambda data: FOUR_SAMPLES, "truncated", "4 samples, fewer than the 4224"),
    "nan": (lambda data: data[:80] + NAN + data[88:], "not_finite", "sample 10 is NaN"),
    "infinite": (
        lambda data: data[:-4] + np.array(np.inf, "<f4").tobytes(),
        "not_finite",
        "sample 4223",
    ),
}


@pytest.mark.parametrize(("change", "code", "words"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_samples_are_refused_by_name_and_the_other_recording_stays(loose_session, change, code, words):
    path = loose_session.path("-data")
    spoil_json(loose_session.files, loose_session.path("-meta"), drop("global", "core:sha512"))
    loose_session.files[path] = change(loose_session.files[path])

    sessions, refused = read(loose_session.files)

    assert [(r.name, r.code) for r in refused] == [(path, code)]
    assert words in refused[0].message
    assert len(sessions[0].recordings) == 1


def test_other_samples_than_were_hashed_are_refused(loose_session):
    path = loose_session.path("-data")
    loose_session.files[path] = loose_session.files[path][::-1]
    _, refused = read(loose_session.files)
    assert [(r.name, r.code) for r in refused] == [(path, "sha512_mismatch")]


def test_other_metadata_than_the_collection_lists_are_refused(loose_session):
    path = loose_session.path("-meta")
    loose_session.files[path] += b" "
    _, refused = read(loose_session.files)
    assert [(r.name, r.code) for r in refused] == [(path, "sha512_mismatch")]


@pytest.mark.parametrize(
    ("ending", "code"), [("-data", "sigmf_missing_data"), ("-meta", "sigmf_missing_meta")]
)
def test_half_of_a_pair_is_refused(loose_session, ending, code):
    del loose_session.files[loose_session.path(ending)]
    sessions, refused = read(loose_session.files)
    assert [r.code for r in refused] == [code]
    assert len(sessions[0].recordings) == 1


@pytest.mark.parametrize(
    ("ending", "code"), [("-data", "sigmf_missing_data"), ("-meta", "sigmf_missing_meta")]
)
def test_half_of_a_pair_without_a_collection_is_refused(loose_session, ending, code):
    files = loose_session.files
    alone = {name: data for name, data in files.items() if not name.endswith(("-collection", ending))}
    sessions, refused = read(alone)
    assert sessions == []
    assert {r.code for r in refused} == {code}


def test_pairs_without_a_collection_have_no_source_and_are_told_once(loose_session):
    del loose_session.files["session.sigmf-collection"]
    sessions, refused = read(loose_session.files)
    assert sessions == []
    assert [r.code for r in refused] == ["no_source", "no_source"]
    assert "sigmf-collection" in (refused[0].hint or "")


SOURCE = ("collection", "heimdall:source")
BAD_COLLECTION = {
    "no source": (drop(*SOURCE), "no_source"),
    "source no object": (put(*SOURCE, value=7), "no_source"),
    "no name": (drop(*SOURCE, "name"), "no_source"),
    "no latitude": (drop(*SOURCE, "latitude"), "bad_position"),
    "bad latitude": (put(*SOURCE, "latitude", value=-90.5), "bad_position"),
    "bad margin": (put(*SOURCE, "error_margin_m", value=-1), "bad_metadata"),
    "bad frequency": (put(*SOURCE, "frequency_hz", value="145 MHz"), "bad_metadata"),
    "bad session name": (put("collection", "heimdall:session", value=""), "bad_metadata"),
    "bad start": (put("collection", "heimdall:started_at", value="yesterday"), "bad_time"),
    "no streams": (put("collection", "core:streams", value=[]), "empty"),
    "streams no objects": (put("collection", "core:streams", value=[{"name": 3}]), "bad_metadata"),
    "streams leave the folder": (
        put("collection", "core:streams", value=[{"name": "../00-Receiver-0"}]),
        "bad_metadata",
    ),
    "a stream twice": (
        put("collection", "core:streams", value=[{"name": "00-Receiver-0"}] * 2),
        "bad_metadata",
    ),
}


@pytest.mark.parametrize(("change", "code"), BAD_COLLECTION.values(), ids=BAD_COLLECTION)
def test_a_bad_collection_is_refused(loose_session, change, code):
    spoil_json(loose_session.files, "session.sigmf-collection", change)
    sessions, refused = read(loose_session.files)
    assert sessions == []
    assert ("session.sigmf-collection", code) in [(r.name, r.code) for r in refused]


def test_a_receiver_may_record_a_session_once(loose_session):
    second = [name for name in loose_session.files if name.endswith("-meta")][1]
    spoil_json(loose_session.files, second, put("global", "heimdall:receiver", value="Receiver 0"))
    sessions, refused = read(loose_session.files)
    assert [(r.name, r.code) for r in refused] == [(second, "duplicate_receiver")]
    assert len(sessions[0].recordings) == 1


def test_a_session_without_a_good_recording_is_refused(loose_session):
    for name in list(loose_session.files):
        if name.endswith("-data"):
            del loose_session.files[name]
    sessions, refused = read(loose_session.files)
    assert sessions == []
    assert [r.code for r in refused] == ["sigmf_missing_data", "sigmf_missing_data", "empty"]


def test_position_may_stand_in_the_global_object(loose_session):
    def move(document: dict[str, Any]) -> None:
        document["global"]["core:geolocation"] = document["captures"][0].pop("core:geolocation")

    spoil_json(loose_session.files, loose_session.path("-meta"), move)
    sessions, refused = read(loose_session.files)
    assert refused == []
    assert sessions[0].recordings[0].receiver.latitude == 45.0


def test_a_recording_at_twice_the_rate_needs_twice_the_samples(loose_session):
    spoil_json(
        loose_session.files, loose_session.path("-meta"), put("global", "core:sample_rate", value=25_000)
    )
    _, refused = read(loose_session.files)
    assert "fewer than the 8448" in refused[0].message


def test_a_session_may_do_without_its_optional_members(loose_session):
    def change(document: dict[str, Any]) -> None:
        for key in ("heimdall:session", "heimdall:started_at"):
            del document["collection"][key]
        del document["collection"]["heimdall:source"]["power_dbm"]

    spoil_json(loose_session.files, "session.sigmf-collection", change)
    (session,), refused = read(loose_session.files)
    assert refused == []
    assert session.name == "session"
    assert session.started_at == session.recordings[0].started_at
    assert session.source.power_dbm is None


def test_loose_files_in_folders_make_their_sessions(loose_session):
    both = {f"{folder}/{name}": data for folder in "ab" for name, data in loose_session.files.items()}
    sessions, refused = read(both)
    assert refused == []
    assert len(sessions) == 2


def test_other_files_are_refused_and_do_not_stop_the_rest(loose_session):
    sessions, refused = read({"README.md": b"hello", **loose_session.files})
    assert len(sessions) == 1
    assert [(r.name, r.code) for r in refused] == [("README.md", "not_sigmf")]


# Archives


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"not a tar" * 200, "not_sigmf"),
        (bytes(10_240), "empty"),
        (b"PK\3\4" * 300, "compressed"),
    ],
)
def test_what_is_no_archive_is_refused(data, code):
    assert [(r.name, r.code) for r in read({"one.sigmf": data})[1]] == [("one.sigmf", code)]


def test_a_compressed_archive_is_refused_with_a_hint():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz"):
        pass
    _, (refused,) = read({"one.sigmf": buffer.getvalue()})
    assert refused.code == "compressed"
    assert "Unpack it" in (refused.hint or "")


def test_an_archive_cut_within_the_samples_is_truncated(make_session):
    data = pack_session(make_session(2)).data
    assert [r.code for r in read({"one.sigmf": data[:60_000]})[1]] == ["truncated"]


def test_an_archive_cut_between_members_lacks_them(make_session):
    packed = pack_session(make_session(2))
    cut = packed.members[1].offset - 512
    sessions, refused = read({"one.sigmf": packed.data[:cut]})
    assert [(r.name, r.code) for r in refused] == [
        ("one.sigmf/01-Receiver-1/01-Receiver-1.sigmf-meta", "sigmf_missing_data")
    ]
    assert len(sessions[0].recordings) == 1


def _archive_with(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        _archive_with("../../etc/passwd.sigmf-meta"),
        _archive_with("/etc/passwd.sigmf-meta"),
        _archive_with("a\\..\\b.sigmf-meta"),
        _archive_with("a.sigmf-data", tarfile.SYMTYPE, "/etc/passwd"),
        _archive_with("a.sigmf-data", tarfile.LNKTYPE, "b"),
        _archive_with("a.sigmf-data", tarfile.CHRTYPE),
        _archive_with("a.sigmf-data", tarfile.FIFOTYPE),
    ],
)
def test_an_archive_that_reaches_outside_itself_is_refused(data):
    assert [r.code for r in read({"one.sigmf": data})[1]] == ["unsafe_archive"]


@pytest.mark.parametrize("limit", ["MAX_ARCHIVE_BYTES", "MAX_ARCHIVE_MEMBERS"])
def test_an_archive_beyond_the_limits_is_refused(make_session, monkeypatch, limit):
    monkeypatch.setattr(files, limit, 3)
    data = pack_session(make_session(2)).data
    assert [r.code for r in read({"one.sigmf": data})[1]] == ["too_large"]


def test_an_archive_cut_within_its_last_samples_is_truncated(make_session):
    packed = pack_session(make_session(1))
    cut = packed.members[0].offset + 100
    assert [r.code for r in read({"one.sigmf": packed.data[:cut]})[1]] == ["truncated"]


def test_a_bad_archive_does_not_stop_the_next(make_session):
    good = pack_session(make_session(2)).data
    sessions, refused = read({"bad.sigmf": b"x" * 2000, "good.sigmf": good})
    assert len(sessions) == 1
    assert [r.name for r in refused] == ["bad.sigmf"]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_to_an_archive_escapes_as_an_exception(make_session, data):
    spoiled = bytearray(pack_session(make_session(1, num_samples=4224)).data[:6000])
    for _ in range(data.draw(st.integers(1, 8))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    outcomes = read({"one.sigmf": bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))])})
    assert outcomes[0] == []
    assert outcomes[1]
