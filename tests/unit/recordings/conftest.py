from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.files import files_of_archive
from heimdall_core.recordings.session import IqRecording, ReceiverSite, RecordedSession, Source

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
