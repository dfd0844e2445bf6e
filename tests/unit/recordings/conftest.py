import builtins
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from heimdall_core.catalogue.import_report import ImportedRecording, ImportedSession, ImportReport
from heimdall_core.catalogue.importing import UploadedFile, import_files
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.ports import Progress, StoredObject
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.fields import is_label
from heimdall_core.recordings.files import files_of_archive
from heimdall_core.recordings.session import IqRecording, ReceiverSite, RecordedSession, Source

SHORT = FeatureSettings(n_fft=64, hop=16, num_frames=1)
"""A segment of 64 samples."""
STARTED_AT = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def build_session(num_receivers: int = 3, *, num_samples: int = 4224, **changes: Any) -> RecordedSession:
    rng = np.random.default_rng(num_receivers)
    recordings = tuple(
        IqRecording(
            receiver=ReceiverSite(
                name=f"Receiver {i}", latitude=45 + i / 10, longitude=8.0, altitude_m=100.0 * i
            ),
            samples=(0.01 * rng.standard_normal((num_samples, 2))).astype("f4").view("c8")[:, 0],
            sample_rate_hz=12_500.0,
            center_frequency_hz=145.5e6,
            started_at=STARTED_AT,
            noise_floor_dbfs=-60.0 - i,
        )
        for i in range(num_receivers)
    )
    source = Source(
        name="Beacon", frequency_hz=145.5e6, latitude=44.9, longitude=8.2, error_margin_m=5.0, power_dbm=40.0
    )
    members = {"name": "one", "source": source, "started_at": STARTED_AT, "recordings": recordings}
    return RecordedSession(**(members | changes))


@dataclass
class LooseSession:
    """A packed session as separate files that a test can spoil."""

    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, session: RecordedSession) -> "LooseSession":
        members = files_of_archive(pack_session(session).data)
        return cls({name: bytes(read()) for name, read in members.items()})

    def path(self, ending: str) -> str:
        """The first file with this ending."""
        return next(name for name in self.files if name.endswith(ending))


@pytest.fixture(scope="session")
def make_session() -> Callable[..., RecordedSession]:
    return build_session


@pytest.fixture
def loose_session() -> LooseSession:
    return LooseSession.of(build_session(2))


class MemoryStore:
    """Objects in memory; nothing of a disk can be reached through it."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        return self.objects[uri][offset:][:num_bytes]

    def get_file(self, uri: str, path: Path) -> None:
        raise AssertionError(uri)

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = "") -> StoredObject:
        self.objects[uri] = data
        digest = hashlib.sha256(data).hexdigest()
        return StoredObject(uri=uri, sha256=digest, num_bytes=len(data), media_type=media_type)

    def put_file(self, uri: str, path: Path, *, media_type: str = "") -> StoredObject:
        raise AssertionError(uri)


class SilentReporter:
    """Wants no stop and remembers nothing."""

    def progress(self, progress: Progress) -> None:
        assert progress.percent is not None
        assert 0.0 <= progress.percent <= 100.0 + 1e-9

    def event(self, name: str, **data: object) -> None:
        json.dumps(data, allow_nan=False)

    def stop_requested(self) -> None:
        return None


@contextmanager
def no_files() -> Iterator[None]:
    """Whoever opens a file meanwhile fails."""

    def refuse(*args: object, **options: object) -> NoReturn:
        raise AssertionError(f"opened {args}")

    with pytest.MonkeyPatch.context() as patch:
        for place, name in ((builtins, "open"), (io, "open"), (os, "open")):
            patch.setattr(place, name, refuse)
        yield


def import_in_memory(files: dict[str, bytes], *, most_seconds: float = 1.0) -> ImportReport:
    """The import of these files, whose every fact is finite, in range and told, in bounded time."""
    uploaded = [
        UploadedFile(name=name, uri=f"s3://raw/{number}", num_bytes=len(data))
        for number, (name, data) in enumerate(files.items())
    ]
    store = MemoryStore({file.uri: data for file, data in zip(uploaded, files.values(), strict=True)})
    began = time.process_time()
    with no_files():
        report = import_files(
            uploaded,
            store=store,
            recordings_uri="s3://raw/recordings",
            reporter=SilentReporter(),  # type: ignore[arg-type]
            settings=SHORT,
        )
    assert time.process_time() - began < most_seconds
    assert report.sessions or report.refused or all(is_silent(name, files) for name in files)
    check_report(report)
    for session in report.sessions:
        assert len(store.objects[session.uri]) == session.num_bytes
    return report


def is_silent(name: str, files: dict[str, bytes]) -> bool:
    """Whether the samples of a pair are all that it is: its metadata speak for it."""
    return name.endswith(".sigmf-data") and name.replace(".sigmf-data", ".sigmf-meta") in files


def check_report(report: ImportReport) -> None:
    """What is catalogued can be stored as JSON and in PostgreSQL, and what is refused says why."""
    text = json.dumps(report.to_dict(), allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert "\\u0000" not in text
    assert ImportReport.from_dict(json.loads(text)) == report
    for refused in report.refused:
        assert refused.name
        assert refused.code
        assert refused.message
        assert refused.hint
    for session in report.sessions:
        check_places(session)
        for recording in session.recordings:
            check_facts(recording)


def check_places(session: ImportedSession) -> None:
    places = (session.source, *session.receivers)
    assert all(-90 <= place.latitude <= 90 and -180 <= place.longitude <= 180 for place in places)
    assert all(-500 <= receiver.altitude_m <= 9_000 for receiver in session.receivers)
    assert all(is_label(name) for name in (session.name, *(place.name for place in places)))
    assert len({receiver.name for receiver in session.receivers}) == len(session.recordings)
    assert 1970 <= session.started_at.year <= 2201
    assert session.duration_seconds > 0


def check_facts(recording: ImportedRecording) -> None:
    assert recording.num_samples >= 1
    assert 1.0 <= recording.sample_rate_hz <= 1e9
    assert 0.0 <= recording.center_frequency_hz <= 1e12
    assert recording.noise_floor_dbfs is None or -300 <= recording.noise_floor_dbfs <= 300
    assert recording.snr_db is None or -20 <= recording.snr_db < 1_000
    assert 1969 <= recording.started_at.year <= 2201


@pytest.fixture(scope="session")
def fuzzed_import() -> Callable[..., ImportReport]:
    return import_in_memory
