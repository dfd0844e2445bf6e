import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from heimdall_core.domain.manifest import Manifest, ManifestReceiver, ManifestRecording, ManifestSession
from heimdall_core.recordings.iq import encode
from heimdall_core.storage import FolderStore

RECEIVERS = (("north", 45.2, 8.0, 300.0), ("east", 45.0, 8.5, 120.0), ("south", 44.6, 8.1, 480.0))


@dataclass
class World:
    """Sessions of three receivers in a folder store, written one object per session."""

    store: FolderStore
    sessions: list[ManifestSession] = field(default_factory=list)

    def add(self, recordings: dict[str, tuple[np.ndarray, float, float | None]], iq_format="cf32_le") -> None:
        """Adds a session from receiver -> (samples, sample rate, floor)."""
        number = len(self.sessions)
        uri, data, entries = f"s3://raw/session-{number}.sigmf", b"header", []
        for receiver, (samples, rate, floor) in recordings.items():
            payload = encode(samples, iq_format)
            entries.append(
                ManifestRecording(
                    receiver=receiver,
                    uri=uri,
                    offset=len(data),
                    num_bytes=len(payload),
                    sha256=hashlib.sha256(payload).hexdigest(),
                    format=iq_format,
                    sample_rate_hz=rate,
                    center_frequency_hz=145.5e6,
                    noise_floor_dbfs=floor,
                )
            )
            data += payload + b"padding"
        self.store.put_bytes(uri, data)
        self.sessions.append(
            ManifestSession(
                id=f"ses_{number}",
                source="beacon",
                latitude=45.0 + 0.01 * number,
                longitude=8.1,
                frequency_hz=145.5e6,
                started_at="2026-01-01T00:00:00Z",
                split=("train", "val", "test")[number % 3],
                block=str(number),
                recordings=tuple(entries),
            )
        )

    def manifest(self) -> Manifest:
        return Manifest(
            name="world",
            version=1,
            origin_latitude=44.95,
            origin_longitude=8.1,
            receivers=tuple(
                ManifestReceiver(name=n, latitude=lat, longitude=lon, altitude_m=alt)
                for n, lat, lon, alt in RECEIVERS
            ),
            sessions=tuple(self.sessions),
        )


@pytest.fixture
def random_iq() -> Callable[..., np.ndarray]:
    rng = np.random.default_rng(0)

    def make(num_samples: int = 4224, level: float = 0.1) -> np.ndarray:
        parts = rng.standard_normal((2, num_samples)) * level / np.sqrt(2)
        return (parts[0] + 1j * parts[1]).astype(np.complex64)

    return make


@pytest.fixture
def world(tmp_path, random_iq) -> World:
    """Six sessions; the receiver ``south`` misses every other one, session 3 has two segments."""
    world = World(FolderStore(tmp_path / "store"))
    for number in range(6):
        length = 9000 if number == 3 else 4300
        heard = {"north": (random_iq(length), 12_500.0, -20.0), "east": (random_iq(length), 12_500.0, None)}
        if number % 2:
            heard["south"] = (random_iq(length), 12_500.0, -18.0)
        world.add(heard)
    return world
