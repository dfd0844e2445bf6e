"""Doubles and tiny data for tests that train. Torch is imported by those alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.manifest import (
    Manifest,
    ManifestReceiver,
    ManifestRecording,
    ManifestSession,
    Split,
)
from heimdall_core.domain.ports import Artifact, Checkpoint, Progress, StopRequest, StoredObject
from heimdall_core.storage import FolderStore

if TYPE_CHECKING:
    from heimdall_core.features import FeatureSet

ORIGIN = (44.95, 8.10)


@dataclass
class MemoryReporter:
    """Keeps what it is told; asks for a stop once a step is reached."""

    stop_at_step: int | None = None
    finish_at_step: int | None = None
    phases: list[JobPhase] = field(default_factory=list)
    progresses: list[Progress] = field(default_factory=list)
    points: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)

    def phase(self, phase: JobPhase) -> None:
        self.phases.append(phase)

    def progress(self, progress: Progress) -> None:
        self.progresses.append(progress)

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        self.points.append((step, epoch, dict(values)))

    def event(self, name: str, **data: Any) -> None:
        self.events.append((name, data))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self.checkpoints.append(checkpoint)

    def artifact(self, artifact: Artifact) -> None:
        self.artifacts.append(artifact)

    def stop_requested(self) -> StopRequest | None:
        step = max((p.step or 0 for p in self.progresses), default=0)
        return "cancel" if self.stop_at_step is not None and step >= self.stop_at_step else None

    def finish_requested(self) -> bool:
        step = max((p.step or 0 for p in self.progresses), default=0)
        return self.finish_at_step is not None and step >= self.finish_at_step

    def events_named(self, name: str) -> list[dict[str, Any]]:
        return [data for found, data in self.events if found == name]


class StoreThatRefuses(FolderStore):
    """Reads, and refuses every write whose URI contains ``refused``."""

    def __init__(self, root: Path, refused: str = "") -> None:
        super().__init__(root)
        self.refused = refused
        self.num_refused = 0

    def put_file(self, uri: str, path: Path, *, media_type: str = "") -> StoredObject:
        if self.refused in uri:
            self.num_refused += 1
            raise StorageUnavailable(f"{uri}: connection refused")
        return super().put_file(uri, path, media_type=media_type)


@pytest.fixture
def reporter() -> MemoryReporter:
    return MemoryReporter()


@pytest.fixture(scope="session")
def make_reporter() -> type[MemoryReporter]:
    return MemoryReporter


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def refusing_store(tmp_path: Path) -> StoreThatRefuses:
    return StoreThatRefuses(tmp_path / "store", "/checkpoints/")


@pytest.fixture(scope="session")
def make_features() -> "Callable[..., FeatureSet]":
    """Feature sets whose levels tell the position, in memory."""
    return _features


def _features(
    num_sessions: int = 20, *, num_receivers: int = 3, max_segments: int = 3, seed: int = 0
) -> "FeatureSet":
    from heimdall_core.features import FeatureSet, rows

    rng = np.random.default_rng(seed)
    num_segments = rng.integers(1, max_segments + 1, num_sessions)
    first = np.concatenate([[0], np.cumsum(num_segments)]).astype(np.int64)
    targets_km = rng.uniform(-40, 40, (num_sessions, 2)).astype(np.float32)
    sites_km = rng.uniform(-50, 50, (num_receivers, 2))
    distance_km = np.linalg.norm(targets_km[:, None] - sites_km, axis=2)
    snr_db = (60 - 25 * np.log10(distance_km)).astype(np.float32)
    owner = np.repeat(np.arange(num_sessions), num_segments)
    inputs = rng.normal(0.0, 0.1, (first[-1], num_receivers, rows.NUM_ROWS, 32)).astype(np.float32)
    inputs[:, :, : rows.SNR_ROW + 1] += (snr_db[owner] / rows.DB_SCALE)[:, :, None, None]
    inputs[:, :, rows.PRESENCE_ROW] = 1.0
    inputs[:, :, rows.POSITION_ROWS] = 0.3
    inputs[:, :, rows.POSITION_ROWS.start : rows.POSITION_ROWS.stop - 1] = (sites_km / 100)[:, :, None]
    splits: tuple[Split, ...] = tuple(
        ("val", "test", "train", "train", "train")[i % 5] for i in range(num_sessions)
    )
    return FeatureSet(
        inputs=inputs,
        first_segment=first,
        targets_km=targets_km,
        positions_deg=np.stack(
            [ORIGIN[0] + targets_km[:, 1] / 111, ORIGIN[1] + targets_km[:, 0] / 79], axis=1
        ),
        snr_db=snr_db,
        session_ids=tuple(f"s{i}" for i in range(num_sessions)),
        splits=splits,
        was_cached=True,
    )


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """The folder of a store with 30 simulated sessions, and their manifest."""
    from heimdall_core.simulation.sites import ORIGIN as WORLD_ORIGIN
    from heimdall_core.simulation.sites import SITES
    from heimdall_core.simulation.world_a import simulate_sessions

    root = tmp_path_factory.mktemp("tiny-dataset")
    store = FolderStore(root)
    sessions = [
        _freeze(session, index, store)
        for index, session in enumerate(simulate_sessions(30, 1, num_segments=2))
    ]
    receivers = [
        ManifestReceiver(
            name=s.receiver.name,
            latitude=s.receiver.latitude,
            longitude=s.receiver.longitude,
            altitude_m=s.receiver.altitude_m,
        )
        for s in SITES
    ]
    manifest = Manifest(
        name="tiny",
        version=1,
        origin_latitude=WORLD_ORIGIN[0],
        origin_longitude=WORLD_ORIGIN[1],
        receivers=tuple(receivers),
        sessions=tuple(sessions),
    )
    return root, manifest


def _freeze(session: Any, index: int, store: FolderStore) -> ManifestSession:
    from heimdall_core.recordings.archive import pack_session

    packed = pack_session(session)
    uri = f"s3://raw/{index}.sigmf"
    store.put_bytes(uri, packed.data)
    recordings = [
        ManifestRecording(
            receiver=recording.receiver.name,
            uri=uri,
            offset=member.offset,
            num_bytes=member.num_bytes,
            sha256=member.sha256,
            format=recording.format,
            sample_rate_hz=recording.sample_rate_hz,
            center_frequency_hz=recording.center_frequency_hz,
            noise_floor_dbfs=recording.noise_floor_dbfs,
        )
        for recording, member in zip(session.recordings, packed.members, strict=True)
    ]
    return ManifestSession(
        id=f"s{index}",
        source=session.source.name,
        latitude=session.source.latitude,
        longitude=session.source.longitude,
        frequency_hz=session.source.frequency_hz,
        started_at=session.started_at.isoformat(),
        split=("val", "test", "train", "train", "train")[index % 5],  # type: ignore[arg-type]
        block=str(index),
        recordings=tuple(recordings),
    )
