"""A session's recordings from the object store: checked, decoded, resampled, cut into segments."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import FeatureSettings, ManifestRecording, ManifestSession
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.features.resampling import resample, resampled_length
from heimdall_core.recordings.iq import BYTES_PER_SAMPLE, decode
from heimdall_core.recordings.noise_floor import estimate_noise_floor_dbfs, has_wide_evidence

#: One request spans the gaps between recordings (tar headers, JSON) unless they exceed this share.
_WORTHWHILE_SPAN = 1.25
_SMALL_GAP_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionSegments:
    """What one session brings to a batch."""

    samples: NDArray[np.complex64]
    """(present receivers, segments, segment_samples)."""
    receivers: NDArray[np.int64]
    """(present receivers,) places in the manifest."""
    noise_floor_dbfs: NDArray[np.float32]
    """(present receivers,), stated or measured beyond the guard bands; NaN: the front end estimates it."""

    @property
    def num_segments(self) -> int:
        """Segments of each receiver."""
        return int(self.samples.shape[1])

    @property
    def num_planes(self) -> int:
        """Segments of all receivers."""
        return len(self.receivers) * self.num_segments


def count_segments(session: ManifestSession, settings: FeatureSettings) -> int:
    """Segments that every recording of the session fills, from the sizes in the manifest.

    Raises:
        DataError: no recording, a broken size, or one shorter than a segment.
    """
    if not session.recordings:
        raise DataError(f"session {session.id} has no recordings", code="empty_session")
    return min(_segments_of(session, recording, settings) for recording in session.recordings)


def _segments_of(session: ManifestSession, recording: ManifestRecording, settings: FeatureSettings) -> int:
    num_samples, rest = divmod(recording.num_bytes, BYTES_PER_SAMPLE[recording.format])
    if rest:
        raise _refused(session, recording, "is no whole number of samples", "truncated")
    length = resampled_length(num_samples, recording.sample_rate_hz, settings.sample_rate_hz)
    if length < settings.segment_samples:
        message = f"is shorter than a segment of {settings.segment_samples / settings.sample_rate_hz:.2f} s"
        raise _refused(session, recording, message, "recording_too_short")
    if recording.noise_floor_dbfs is None and recording.sample_rate_hz < settings.sample_rate_hz:
        message = f"states no noise floor and is too slow to measure it: {recording.sample_rate_hz:g} Hz"
        raise _refused(session, recording, message, "noise_floor_unknown")
    return length // settings.segment_samples


def fetch_session(
    session: ManifestSession,
    *,
    store: ObjectStore,
    places: dict[str, int],
    settings: FeatureSettings,
    num_segments: int,
) -> SessionSegments:
    """Reads a session and cuts its first ``num_segments`` segments.

    Raises:
        DataError: a range's SHA-256 is not the manifest's (``object_changed``).
        NotFound: an object is absent.
        StorageUnavailable: the store did not answer.
    """
    payloads = _read_ranges(session, store)
    cut = [
        _cut(recording, payload, settings, num_segments)
        for recording, payload in zip(session.recordings, payloads, strict=True)
    ]
    return SessionSegments(
        samples=np.stack([samples for samples, _ in cut]),
        receivers=np.array([places[r.receiver] for r in session.recordings], np.int64),
        noise_floor_dbfs=np.array([floor_dbfs for _, floor_dbfs in cut], np.float32),
    )


def known_noise_floor_dbfs(
    samples: NDArray[np.complex64],
    *,
    sample_rate_hz: float,
    stated_dbfs: float | None,
    settings: FeatureSettings,
) -> float:
    """The floor that the front end is told: stated, else heard beyond the guard bands, else NaN."""
    if stated_dbfs is not None:
        return stated_dbfs
    if not has_wide_evidence(sample_rate_hz, settings.channel_bandwidth_hz):
        return math.nan
    measured = estimate_noise_floor_dbfs(
        samples, sample_rate_hz=sample_rate_hz, bandwidth_hz=settings.channel_bandwidth_hz
    )
    return math.nan if measured is None else measured


def _cut(
    recording: ManifestRecording, payload: bytes, settings: FeatureSettings, num_segments: int
) -> tuple[NDArray[np.complex64], float]:
    """(num_segments, segment_samples) and the noise floor."""
    rate_hz = recording.sample_rate_hz
    samples = decode(payload, recording.format)
    floor_dbfs = known_noise_floor_dbfs(
        samples, sample_rate_hz=rate_hz, stated_dbfs=recording.noise_floor_dbfs, settings=settings
    )
    resampled = resample(samples, rate_hz, settings.sample_rate_hz)
    return resampled[: num_segments * settings.segment_samples].reshape(num_segments, -1), floor_dbfs


def _read_ranges(session: ManifestSession, store: ObjectStore) -> list[bytes]:
    payloads = _read_together(session.recordings, store) or _read_apart(session.recordings, store)
    for recording, payload in zip(session.recordings, payloads, strict=True):
        if hashlib.sha256(payload).hexdigest() != recording.sha256:
            raise _refused(session, recording, "is not what the dataset was frozen with", "object_changed")
    return payloads


def _read_together(recordings: Sequence[ManifestRecording], store: ObjectStore) -> list[bytes] | None:
    """One ranged GET over all recordings if they lie close together in one object."""
    start = min(r.offset for r in recordings)
    span = max(r.offset + r.num_bytes for r in recordings) - start
    wanted = sum(r.num_bytes for r in recordings)
    if len({r.uri for r in recordings}) > 1 or span > wanted * _WORTHWHILE_SPAN + _SMALL_GAP_BYTES:
        return None
    block = store.get_bytes(recordings[0].uri, offset=start, num_bytes=span)
    return [block[r.offset - start : r.offset - start + r.num_bytes] for r in recordings]


def _read_apart(recordings: Sequence[ManifestRecording], store: ObjectStore) -> list[bytes]:
    return [store.get_bytes(r.uri, offset=r.offset, num_bytes=r.num_bytes) for r in recordings]


def _refused(session: ManifestSession, recording: ManifestRecording, what: str, code: str) -> DataError:
    where = f"{recording.uri} [{recording.offset}:{recording.offset + recording.num_bytes}]"
    return DataError(
        f"session {session.id}, receiver {recording.receiver}: {where} {what}",
        code=code,
        hint="Import the recording again and freeze a new dataset version.",
    )
