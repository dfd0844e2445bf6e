"""Sessions that share recordings byte for byte: in two splits they would leak. Pure: no database."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from heimdall_core.datasets.assembling import SelectedSession
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.manifest import IqFormat, ManifestRecording, Split

MAX_IDS_SHOWN = 20
_SILENCE: Mapping[IqFormat, tuple[int, ...]] = {"cf32_le": (0,), "ci16_le": (0,), "cu8": (127, 128)}
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRecordings:
    """Ids of the sessions that share recordings with others, in order of time."""

    sessions: Sequence[str]
    across_splits: Sequence[str]
    """Those of them that share recordings with a session of another split."""


def find_shared(
    sessions: Sequence[SelectedSession], splits: Sequence[Split] | None = None
) -> SharedRecordings:
    """Compares SHA-256 over all sessions; ``splits`` holds one split per session, None: there are none yet.

    Recordings of nothing but silence do not count: a receiver that is off records the same each time.
    """
    sharing: set[int] = set()
    leaking: set[int] = set()
    for group in _groups(sessions):
        sharing |= group
        if splits is not None and len({splits[index] for index in group}) > 1:
            leaking |= group
    return SharedRecordings(
        sessions=[sessions[index].id for index in sorted(sharing)],
        across_splits=[sessions[index].id for index in sorted(leaking)],
    )


def check_no_leak(sessions: Sequence[SelectedSession], splits: Sequence[Split]) -> None:
    """Raises InvalidRequest if the same recording would lie in two splits."""
    leaking = find_shared(sessions, splits).across_splits
    if leaking:
        raise _leak(leaking)


def _leak(leaking: Sequence[str]) -> InvalidRequest:
    shown = ", ".join(leaking[:MAX_IDS_SHOWN]) + (", ..." if len(leaking) > MAX_IDS_SHOWN else "")
    remedy = (
        "reject all but one of the sessions that share a recording, or choose units that hold them together"
    )
    return InvalidRequest(
        f"{len(leaking)} sessions hold recordings that are also in another split, byte for byte: {shown}",
        problems=(FieldProblem(pointer="/split", detail=f"splits would share recordings; {remedy}"),),
        hint=remedy,
        code="duplicate_recordings",
    )


def _groups(sessions: Sequence[SelectedSession]) -> Sequence[set[int]]:
    """The indices of sessions that share one recording, for each such recording."""
    first: dict[str, int] = {}
    shared: dict[str, tuple[ManifestRecording, set[int]]] = {}
    for index, session in enumerate(sessions):
        for recording in session.recordings:
            earlier = first.setdefault(recording.sha256, index)
            if earlier != index:
                shared.setdefault(recording.sha256, (recording, {earlier}))[1].add(index)
    return [group for recording, group in shared.values() if not _is_silence(recording)]


def _is_silence(recording: ManifestRecording) -> bool:
    return any(
        _digest_of_constant(value, recording.num_bytes) == recording.sha256
        for value in _SILENCE[recording.format]
    )


@lru_cache(maxsize=64)
def _digest_of_constant(value: int, num_bytes: int) -> str:
    """SHA-256 of one byte, repeated."""
    chunk = bytes([value]) * min(num_bytes, _CHUNK_BYTES)
    digest = hashlib.sha256()
    for _ in range(num_bytes // _CHUNK_BYTES):
        digest.update(chunk)
    digest.update(chunk[: num_bytes % _CHUNK_BYTES])
    return digest.hexdigest()
