"""SigMF that nobody should send: every reading is a session with sound facts, or a refusal that says why."""

import io
import json
import os
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.files import files_of_archive

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
"""How many to try by hand, each time others."""
FUZZ = settings(max_examples=int(EXAMPLES or 60), deadline=None, derandomize=not EXAMPLES)

SAMPLES_OF = {"cf32_le": 8, "ci16_le": 4, "cu8": 2}
TEXTS = st.sampled_from(["", " ", "\0", "\ud800", "a\nb", "x" * 101, "../x", "/etc/passwd", "NaN", "1e400"])
NUMBERS = (
    st.sampled_from(
        [
            float("nan"),
            float("inf"),
            -float("inf"),
            10**400,
            -(10**30),
            1e400,
            -1,
            0,
            1e-320,
            2**63,
            1e308,
            True,
        ]
    )
    | st.floats()
)
TIMES = st.sampled_from(
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59Z",
        "2025-02-30T00:00:00Z",
        "2025-01-01",
        "1970-01-01T00:00:00+23:59",
    ]
)
SCALARS = (
    st.none() | TEXTS | NUMBERS | TIMES | st.text(max_size=8) | st.sampled_from([*SAMPLES_OF, "ri16_le"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.tuples(NUMBERS, NUMBERS).map(lambda pair: {"type": "Point", "coordinates": list(pair)})
KEYS = st.sampled_from(
    [
        "core:datatype",
        "core:sample_rate",
        "core:frequency",
        "core:datetime",
        "core:geolocation",
        "core:num_channels",
        "core:header_bytes",
        "core:sha512",
        "core:sample_start",
        "core:streams",
        "heimdall:receiver",
        "heimdall:source",
        "heimdall:session",
        "heimdall:started_at",
        "heimdall:noise_floor_dbfs",
        "name",
        "hash",
        "latitude",
    ]
)
NAMES = st.sampled_from(
    [
        "../x.sigmf-meta",
        "/etc/passwd.sigmf-data",
        "a\\b.sigmf-meta",
        ".sigmf-meta",
        "./x.sigmf-collection",
        "x/" * 300 + "x.sigmf-meta",
        "recordings.csv",
        "a/./b//x.sigmf-data",
        "\udc80.sigmf-meta",
        "é\0x.sigmf-meta",
    ]
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


class Document:
    """JSON in the making: members may be there twice, and deeper than Python writes."""

    def __init__(self, data: bytes) -> None:
        self.value: Any = json.loads(data)

    def containers(self) -> list[Any]:
        found, rest = [], [self.value]
        while rest:
            if isinstance(one := rest.pop(), dict | list):
                found.append(one)
                rest += one.values() if isinstance(one, dict) else one
        return found


@st.composite
def spoiled_json(draw: st.DrawFn, data: bytes) -> bytes:
    """The document with up to four members changed, dropped, added, doubled or nested without end."""
    document = Document(data)
    for container in document.containers():
        if isinstance(container, dict):
            container.pop("hash", None)
    for _ in range(draw(st.integers(1, 4))):
        container = draw(st.sampled_from(document.containers()))
        keys = list(range(len(container))) if isinstance(container, list) else list(container)
        if isinstance(container, dict) and (not keys or draw(st.booleans())):
            container[draw(KEYS)] = draw(VALUES | PLACES)
        elif keys:
            key = draw(st.sampled_from(keys))
            if draw(st.integers(0, 3)):
                container[key] = draw(VALUES | PLACES)
            else:
                del container[key]
    text = json.dumps(document.value)
    if draw(st.integers(0, 7)) == 0:
        text = text.replace("null", nested(draw(st.sampled_from([100, 940, 990, 5_000, 100_000]))), 1)
    if draw(st.integers(0, 7)) == 0:
        text = text.replace('"core:', '"core:sample_rate": 1, "core:', 1)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def spoiled_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Some bytes changed, put in or taken out, or the end cut off."""
    spoiled = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(spoiled)))
        cut = draw(st.sampled_from([0, 1, 1, 4, 512]))
        spoiled[at : at + cut] = draw(st.binary(max_size=4))
    return bytes(spoiled)


@st.composite
def spoiled_files(draw: st.DrawFn, files: dict[str, bytes]) -> dict[str, bytes]:
    """A session's files: some changed, renamed, doubled or gone."""
    spoiled = {name: without_hashes(name, data) for name, data in files.items()}
    for _ in range(draw(st.integers(1, 4))):
        if not spoiled:
            break
        name = draw(st.sampled_from(list(spoiled)))
        match draw(st.sampled_from(["json", "json", "json", "bytes", "drop", "rename", "copy"])):
            case "json" if not name.endswith("-data") and spoiled[name].startswith(b"{"):
                spoiled[name] = draw(
                    spoiled_json(files[name]) if name in files else spoiled_bytes(spoiled[name])
                )
            case "bytes":
                spoiled[name] = draw(spoiled_bytes(spoiled[name]))
            case "drop":
                del spoiled[name]
            case "rename":
                spoiled[draw(NAMES)] = spoiled.pop(name)
            case "copy":
                spoiled[draw(NAMES)] = spoiled[name]
    return spoiled


def without_hashes(name: str, data: bytes) -> bytes:
    if name.endswith("-data"):
        return data
    document = json.loads(data)
    for stream in document.get("collection", {}).get("core:streams", []):
        stream.pop("hash", None)
    document.get("global", {}).pop("core:sha512", None)
    return json.dumps(document).encode()


@st.composite
def archives(draw: st.DrawFn, files: dict[str, bytes]) -> bytes:
    """A tar of the files with members that have no business in it."""
    buffer = io.BytesIO()
    kind = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(fileobj=buffer, mode="w", format=kind, errors="surrogateescape") as archive:
        for name, data in files.items():
            add(archive, name, data)
        for _ in range(draw(st.integers(0, 2))):
            member = tarfile.TarInfo(draw(NAMES))
            member.type = draw(
                st.sampled_from([tarfile.SYMTYPE, tarfile.LNKTYPE, b"3", b"4", b"6", b"S", b"0"])
            )
            member.linkname = draw(st.sampled_from(["", "/etc/passwd", "../../x", "x" * 200]))
            if kind == tarfile.PAX_FORMAT:
                member.pax_headers = draw(
                    st.dictionaries(
                        st.sampled_from(["size", "path", "GNU.sparse.size", "GNU.sparse.map", "hdrcharset"]),
                        st.sampled_from(["-1", "0", "9" * 30, "1,2", "../x", "BINARY", "é"]),
                        max_size=2,
                    )
                )
            archive.addfile(member)
    return buffer.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def parts(make_session) -> dict[str, bytes]:
    """A valid session of two receivers as loose files."""
    return {n: bytes(read()) for n, read in files_of_archive(packed(make_session)).items()}


def packed(make_session: Callable[..., Any]) -> bytes:
    return pack_session(make_session(2, num_samples=100)).data


@given(data=st.data())
@FUZZ
def test_loose_files_are_sessions_with_sound_facts_or_refused(fuzzed_import, parts, data):
    fuzzed_import(data.draw(spoiled_files(parts)))


@given(data=st.data())
@FUZZ
def test_singles_are_sessions_with_sound_facts_or_refused(fuzzed_import, parts, data):
    meta = next(name for name in parts if name.endswith("-meta"))
    document = json.loads(parts[meta])
    document["global"]["heimdall:source"] = {"name": "b", "frequency_hz": 0, "latitude": 1, "longitude": 2}
    samples = parts[meta.replace("-meta", "-data")]
    single = {"x.sigmf-meta": json.dumps(document).encode(), "x.sigmf-data": samples}
    spoiled = {**single, "x.sigmf-meta": data.draw(spoiled_json(without_hashes("", single["x.sigmf-meta"])))}
    fuzzed_import(spoiled)


@given(data=st.data())
@FUZZ
def test_archives_are_sessions_with_sound_facts_or_refused(fuzzed_import, parts, data):
    archive = data.draw(archives(data.draw(st.just(parts) | spoiled_files(parts))))
    fuzzed_import({"one.sigmf": archive})


@given(data=st.data())
@FUZZ
def test_a_damaged_archive_is_a_session_with_sound_facts_or_refused(fuzzed_import, make_session, data):
    fuzzed_import({"one.sigmf": data.draw(spoiled_bytes(packed(make_session)))})


@given(junk=st.binary(max_size=1100), name=st.sampled_from(["a.sigmf", "a.sigmf-meta", "a.sigmf-collection"]))
@FUZZ
def test_junk_is_refused(fuzzed_import, junk, name):
    assert not fuzzed_import({name: junk}).sessions


@given(at=st.integers(0, 511), byte=st.integers(0, 255), header=st.integers(1, 20))
@FUZZ
def test_a_damaged_header_never_ends_an_archive_quietly(fuzzed_import, parts, at, byte, header):
    spoiled = bytearray(tar_of(parts))
    starts = header_starts(bytes(spoiled))
    spoiled[starts[header % len(starts)] + at] = byte
    report = fuzzed_import({"one.sigmf": bytes(spoiled)})
    if report.sessions:
        assert (report.refused, [len(session.recordings) for session in report.sessions]) == ((), [2])
    else:
        assert [(r.name, r.code) for r in report.refused] == [("one.sigmf", "not_sigmf")]


def tar_of(files: dict[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in files.items():
            add(archive, name, data)
    return buffer.getvalue()


def header_starts(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [member.offset for member in archive]


def header(kind: bytes, content: bytes = b"", *, name: str = "x", size: int | None = None) -> bytes:
    """A member of any type whose header may lie about its size."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content) if size is None else size
    return member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


END = bytes(1024)
BOMBS = {
    "an endless chain of long names": (header(b"L", b"a") * 5_000 + END, "not_sigmf"),
    "an endless chain of extended headers": (header(b"x") * 5_000 + END, "not_sigmf"),
    "a long name of eight gigabytes": (header(b"L", b"a", size=2**33) + END, "not_sigmf"),
    "a file of a zettabyte": (header(b"0", b"a", size=2**70) + END, "truncated"),
    "a size below nothing": (header(b"x", b"11 size=-1\n") + header(b"0") + END, "not_sigmf"),
    "a size without end": (header(b"x", b"%d size=%b\n" % (4_011, b"9" * 4_001)) + END, "not_sigmf"),
    "a record without end": (header(b"x", b"9" * 200_000) + header(b"0") + END, "not_sigmf"),
    "a record that goes back": (header(b"x", b"0 path=y\n") + header(b"0") + END, "not_sigmf"),
    "one path for all": (header(b"g", b"10 path=y\n") + header(b"0") + END, "not_sigmf"),
    "a sparse file of a terabyte": (header(b"S", size=2**40) + END, "truncated"),
    "a sparse file of pax": (
        header(b"x", b"26 GNU.sparse.realsize=99\n") + header(b"0") + END,
        "unsafe_archive",
    ),
    "a path as deep as the sea": (header(b"L", b"a/" * 200_000) + header(b"0") + END, "unsafe_archive"),
    "the same path twice": (header(b"0", name="a/x") + header(b"0", name="a/./x") + END, "unsafe_archive"),
    "a header for nothing": (header(b"x", b"10 path=y\n") + END, "truncated"),
    "half a header": (header(b"0") + header(b"0")[:100], "truncated"),
    "another archive behind it": (header(b"0") + END + header(b"0") + END, "trailing_bytes"),
    "only folders": (header(b"5", size=2**40) + END, "empty"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_little_time_and_memory(fuzzed_import, bomb):
    data, code = BOMBS[bomb]
    tracemalloc.start()
    try:
        report = fuzzed_import({"one.sigmf": data}, most_seconds=3.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(r.name, r.code) for r in report.refused] == [("one.sigmf", code)]
    assert peak < 4 * len(data) + 2**20


@pytest.mark.parametrize("prefix", ["./", "recordings/./", "a//b/"])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_of_a_folder_is_read_however_its_paths_are_written(fuzzed_import, parts, prefix, kind):
    report = fuzzed_import({"one.sigmf": tar_of({prefix + name: data for name, data in parts.items()}, kind)})
    assert report.refused == ()
    assert [len(session.recordings) for session in report.sessions] == [2]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_paths_are_read_in_every_dialect_of_tar(fuzzed_import, parts, kind):
    folder = "a" * 60 + "/" + "b" * 60 + "/"
    report = fuzzed_import({"one.sigmf": tar_of({folder + name: data for name, data in parts.items()}, kind)})
    assert report.refused == ()
    assert [len(session.recordings) for session in report.sessions] == [2]


def test_a_size_in_binary_is_read(fuzzed_import, parts):
    data = bytearray(tar_of(parts))
    for start in header_starts(bytes(data)):
        size = int(data[start + 124 : start + 135], 8)
        data[start + 124 : start + 136] = b"\x80" + size.to_bytes(11, "big")
        data[start + 148 : start + 156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    assert len(fuzzed_import({"one.sigmf": bytes(data)}).sessions) == 1


DEEP = {
    "a time": '{"captures": [{"core:sample_start": 0, "core:datetime": DEEP}]}',
    "a rate": '{"global": {"core:sample_rate": DEEP}, "captures": [{"core:sample_start": 0}]}',
    "a datatype": '{"global": {"core:datatype": DEEP}, "captures": [{"core:sample_start": 0}]}',
}


@pytest.mark.parametrize("where", DEEP)
def test_no_depth_of_nesting_escapes_as_an_exception(fuzzed_import, parts, where):
    samples = next(data for name, data in parts.items() if name.endswith("-data"))
    for depth in [*range(860, 1000, 2), 100_000]:
        text = DEEP[where].replace("DEEP", nested(depth))
        report = fuzzed_import({"x.sigmf-meta": text.encode(), "x.sigmf-data": samples}, most_seconds=3.0)
        assert len(report.refused) == 1


def test_a_member_stated_twice_is_refused_by_name(fuzzed_import, parts):
    meta = next(name for name in parts if name.endswith("-meta"))
    text = parts[meta].replace(b'"core:sample_rate":', b'"core:sample_rate":1,"core:sample_rate":')
    single = {"x.sigmf-meta": text, "x.sigmf-data": parts[meta.replace("-meta", "-data")]}
    (refused,) = fuzzed_import(single).refused
    assert refused.code == "bad_json"
    assert "'core:sample_rate' twice" in refused.message


@pytest.mark.parametrize(("largest", "code"), [(3e38, "out_of_scale"), (-2e10, "out_of_scale"), (9e9, None)])
def test_samples_whose_power_is_no_number_are_refused(fuzzed_import, parts, largest, code):
    data = next(name for name in parts if name.endswith("-data"))
    loud = struct.pack("<f", largest) + parts[data][4:]
    files = {name: without_hashes(name, part) for name, part in parts.items()} | {data: loud}
    assert [r.code for r in fuzzed_import(files).refused] == ([code] if code else [])


def test_a_collection_of_a_million_names_is_one_refusal(fuzzed_import):
    streams = [{"name": f"{number:x}"} for number in range(20_000)]
    source = {"name": "b", "frequency_hz": 0, "latitude": 1, "longitude": 2}
    text = json.dumps({"collection": {"core:streams": streams, "heimdall:source": source}})
    (refused,) = fuzzed_import({"x.sigmf-collection": text.encode()}).refused
    assert refused.code == "too_large"
