"""A recording session: one transmission of a known source as several receivers heard it."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import IqFormat

RECORDING_YEARS: Final = (1970, 2200)
"""A time outside them is a mistake; near the ends of the calendar no duration could be added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSite:
    """A fixed receiver: WGS-84 degrees, metres above the ellipsoid or sea level."""

    name: str
    latitude: float
    longitude: float
    altitude_m: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A transmitter whose position is known."""

    name: str
    frequency_hz: float
    """0: not stated."""
    latitude: float
    longitude: float
    error_margin_m: float | None = None
    power_dbm: float | None = None
    """Effective isotropic radiated power."""

    @property
    def is_located(self) -> bool:
        """Whether its position is known."""
        return math.isfinite(self.latitude) and math.isfinite(self.longitude)


UNKNOWN_SOURCE = Source(name="unknown", frequency_hz=0.0, latitude=math.nan, longitude=math.nan)
"""The transmitter of recordings that are to be located."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IqRecording:
    """What one receiver recorded of one transmission."""

    receiver: ReceiverSite
    samples: NDArray[np.complex64]
    """(n,) complex64; full scale is 1."""
    sample_rate_hz: float
    center_frequency_hz: float
    started_at: datetime
    noise_floor_dbfs: float | None = None
    """Mean noise power inside ``FeatureSettings.channel_bandwidth_hz``; None: unstated."""
    format: IqFormat = "cf32_le"
    """How the samples are stored."""

    @property
    def duration_seconds(self) -> float:
        """Length of the recording."""
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedSession:
    """One transmission of a known source, heard by one or more receivers of different names."""

    name: str
    source: Source
    started_at: datetime
    recordings: tuple[IqRecording, ...]


def utc_text(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the only offset that SigMF allows.

    Raises:
        ValueError: the time is naive.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_utc(text: str) -> datetime:
    """Reads an ISO 8601 time with an offset; digits beyond microseconds are dropped.

    Raises:
        ValueError: not such a time, or without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def parse_recording_time(text: str) -> datetime:
    """As ``parse_utc``, for the time that somebody states of a recording.

    Raises:
        ValueError: as ``parse_utc``, or outside ``RECORDING_YEARS``.
    """
    first, last = RECORDING_YEARS
    if not first <= datetime.fromisoformat(text).year <= last:
        raise ValueError(f"{text!r} is not within the years {first} to {last}")
    return parse_utc(text)
