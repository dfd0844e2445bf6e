"""Loose files on their way from the store into sessions: order, memory, progress."""

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from heimdall_core.catalogue.import_reading import Found, UploadedFile, UploadReader
from heimdall_core.catalogue.transfers import MAX_IN_FLIGHT
from heimdall_core.domain.errors import DataError, NotFound, StorageUnavailable
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import RecordedSession

HEADER = (
    "file,session,source,source_latitude,source_longitude,frequency_hz,receiver,receiver_latitude,"
    "receiver_longitude,started_at,sample_rate_hz,group\n"
)
NUM_FILES = 5 * MAX_IN_FLIGHT


def sheet(num_lines: int, *, per_session: int = 1) -> bytes:
    lines = (
        f"{i:03d}.npy,s{i // per_session},Beacon,44.9,8.2,145.5e6,R{i % per_session},45,8,"
        f"2025-03-01T12:00:00Z,12500,g{i // per_session}\n"
        for i in range(num_lines)
    )
    return (HEADER + "".join(lines)).encode()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.full(4300, 0.1 + 0.1j, np.complex64))
    return buffer.getvalue()


class MemoryStore:
    """Holds an upload in memory, and remembers which files were asked for."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.num_given: dict[str, int] = {}
        self.barrier: threading.Barrier | None = None
        """Where the readers of samples wait for each other."""

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        self.fetched.append(uri)
        if self.barrier and uri.endswith((".npy", "-data")):
            self.barrier.wait()
        if uri not in self.contents:
            raise NotFound(uri)
        self.num_given[uri] = len(self.contents[uri][offset:][:num_bytes])
        return self.contents[uri][offset:][:num_bytes]

    def upload(self, **contents: bytes) -> list[UploadedFile]:
        self.contents |= contents
        return [UploadedFile(name=name, uri=name, num_bytes=len(data)) for name, data in contents.items()]

    def upload_sheet(self, num_files: int = NUM_FILES, *, per_session: int = 1) -> list[UploadedFile]:
        files = {f"{i:03d}.npy": npy() for i in range(num_files)}
        return self.upload(**files, **{"recordings.csv": sheet(num_files, per_session=per_session)})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * MAX_IN_FLIGHT) as pool:
        yield pool


@pytest.fixture
def read(store: MemoryStore, pool: ThreadPoolExecutor):
    def read(files: list[UploadedFile], *, done: frozenset[str] = frozenset()) -> Iterator[Found]:
        reader = UploadReader(
            store=store,  # type: ignore[arg-type]
            pool=pool,
            settings=FeatureSettings(),
            receivers=None,
            done=done,
        )
        for part in reader.parts(files):
            yield from part.read()

    return read


def test_samples_are_fetched_side_by_side_and_come_in_the_order_of_the_sheet(store, read):
    files = store.upload_sheet()
    store.barrier = threading.Barrier(MAX_IN_FLIGHT, timeout=10)
    found = list(read(files))
    assert [f.outcome.name for f in found] == [f"s{i}" for i in range(NUM_FILES)]
    assert [f.file for f in found] == [f"recordings.csv:{i + 2}" for i in range(NUM_FILES)]
    assert [f.split_group for f in found] == [f"g{i}" for i in range(NUM_FILES)]


def test_few_samples_are_in_memory_at_once(store, read):
    files = store.upload_sheet(per_session=4)
    for number, found in enumerate(read(files), start=1):
        assert isinstance(found.outcome, RecordedSession)
        num_fetched = sum(name.endswith(".npy") for name in store.fetched)
        assert num_fetched <= 4 * number + MAX_IN_FLIGHT
    assert sorted(store.fetched) == sorted(store.contents)


def test_progress_of_loose_files_advances_with_each_session(store, read):
    files = store.upload_sheet(per_session=4)
    assert [f.done for f in read(files)] == [4 * (i + 1) / NUM_FILES for i in range(NUM_FILES // 4)]


def test_each_file_is_fetched_once(store, read):
    source = {"name": "Beacon", "frequency_hz": 145.5e6, "latitude": 44.9, "longitude": 8.2}
    capture = {
        "core:sample_start": 0,
        "core:frequency": 145.5e6,
        "core:datetime": "2025-03-01T12:00:00Z",
        "core:geolocation": {"type": "Point", "coordinates": [8, 45]},
    }
    about = {"core:datatype": "cf32_le", "core:sample_rate": 12500, "heimdall:source": source}
    contents = {}
    for number in range(3 * MAX_IN_FLIGHT):
        document = {"global": about | {"heimdall:receiver": f"R{number}"}, "captures": [capture]}
        contents[f"{number}.sigmf-meta"] = json.dumps(document).encode()
        contents[f"{number}.sigmf-data"] = npy()[128:]
    files = store.upload(**contents)
    store.barrier = threading.Barrier(MAX_IN_FLIGHT, timeout=10)
    found = list(read(files))
    assert [f.file for f in found] == [f"{number}.sigmf-meta" for number in range(3 * MAX_IN_FLIGHT)]
    assert sorted(store.fetched) == sorted(contents)


def test_descriptions_are_fetched_in_parts_that_report_progress(store, pool):
    files = store.upload(**{f"{i}.sigmf-meta": b"{}" for i in range(600)})
    reader = UploadReader(store=store, pool=pool, settings=FeatureSettings(), receivers=None)  # type: ignore[arg-type]
    assert [part.num_units for part in reader.parts(files)] == [256, 256, 88, 1]


def test_a_lost_file_is_refused_and_the_next_ones_stay_in_their_places(store, read):
    files = store.upload_sheet(4)
    del store.contents["001.npy"]
    found = list(read(files))
    assert [(f.outcome.name, f.file) for f in found] == [
        ("s0", "recordings.csv:2"),
        ("001.npy", "recordings.csv:3"),
        ("s2", "recordings.csv:4"),
        ("s3", "recordings.csv:5"),
    ]
    assert isinstance(found[1].outcome, RefusedFile)
    assert found[1].outcome.code == "missing_upload"


@pytest.mark.parametrize("name", ["recordings.csv", "receivers.csv", "x.sigmf-meta", "x.sigmf-collection"])
def test_a_description_of_absurd_size_is_refused_unread(store, read, name):
    (found,) = read([UploadedFile(name=name, uri=name, num_bytes=2**30)])
    assert found.outcome.code in {"too_large", "sigmf_missing_data", "missing_pair"}
    assert store.fetched == []


def test_what_an_earlier_attempt_accounted_for_is_not_fetched_again(store, read):
    files = store.upload_sheet(4)
    found = list(read(files, done=frozenset({"recordings.csv:2", "recordings.csv:4"})))
    assert [f.outcome.name for f in found] == ["s1", "s3"]
    assert sorted(store.fetched) == ["001.npy", "003.npy", "recordings.csv"]


def test_of_a_file_longer_than_announced_one_byte_more_is_held(store, read):
    (file,) = store.upload(**{"a.sigmf": bytes(1_000_000)})
    (found,) = read([replace(file, num_bytes=10)])
    assert found.outcome.code == "size_mismatch"
    assert found.outcome.message == "10 bytes were announced, more are stored"
    assert store.num_given == {"a.sigmf": 11}


@pytest.mark.parametrize(("announced", "code"), [(0, "empty"), (10, "size_mismatch")])
def test_an_object_without_bytes_has_no_range_and_is_told_like_any_other(
    store, read, monkeypatch, announced, code
):
    def empty(*_: object, **__: object) -> bytes:
        raise DataError("shorter than the range asked for", code="object_too_short")

    monkeypatch.setattr(store, "get_bytes", empty)
    (found,) = read([UploadedFile(name="a.sigmf", uri="a.sigmf", num_bytes=announced)])
    assert found.outcome.code == code


def test_a_store_that_is_away_stops_the_reading(store, read, monkeypatch):
    files = store.upload_sheet(4)

    def away(*_: object, **__: object) -> bytes:
        raise StorageUnavailable("away")

    monkeypatch.setattr(store, "get_bytes", away)
    with pytest.raises(StorageUnavailable):
        list(read(files))
