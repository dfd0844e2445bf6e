"""Spectrograms of sessions: handed out where a worker has made them, else asked for (docs/decisions/0013)."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, NoReturn
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.schemas.spectrograms import SpectrogramDocument
from api.services import Services
from heimdall_core.catalogue.sessions import find_session
from heimdall_core.database.job_tables import Worker
from heimdall_core.datasets.lone_sessions import describe_session
from heimdall_core.domain.errors import DataError, ErrorCategory, ErrorInfo, InfrastructureError, NotFound
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.spectrograms import StoredSpectrogram, read_stored, spectrogram_uri

ASK_AGAIN_SECONDS: Final = 5.0
"""A request that nobody answers may be lost: it is repeated for whoever still waits."""
OVERDUE_SECONDS: Final = 60.0
"""Longer than a worker may take."""
_FORGOTTEN_SECONDS: Final = 120.0


@dataclass(slots=True)
class _Asked:
    first_at: float
    last_at: float
    wanted_at: float


class AskedFor:
    """What this process has asked the workers for: once in a while, and not by every call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, most_remembered: int = 10_000) -> None:
        self._clock, self._most_remembered = clock, most_remembered
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, uri: str) -> tuple[bool, float]:
        """Whether it is to be asked for now, and for how many seconds it has been wanted."""
        with self._lock:
            now = self._clock()
            asked = self._asked.get(uri)
            if asked is None or now - asked.wanted_at > _FORGOTTEN_SECONDS:
                self._asked[uri] = _Asked(now, now, now)
                self._asked.move_to_end(uri)
                while len(self._asked) > self._most_remembered:
                    self._asked.popitem(last=False)
                return True, 0.0
            asked.wanted_at = now
            is_due = now - asked.last_at >= ASK_AGAIN_SECONDS
            if is_due:
                asked.last_at = now
            return is_due, now - asked.first_at

    def forget(self, uri: str) -> None:
        """It has been made, or cannot be."""
        with self._lock:
            self._asked.pop(uri, None)


class Spectrograms:
    """Those that lie in the object store; others are asked for."""

    def __init__(self, services: Services, asked: AskedFor | None = None) -> None:
        self._services = services
        self._asked = asked or AskedFor()

    def find(self, session_id: UUID, segment: int) -> SpectrogramDocument | None:
        """The segment of the session; None: it is being made. No connection is held while the store is read.

        Raises:
            NotFound: no such session, or it is shorter.
            DataError: its recordings cannot be read.
            InfrastructureError: no worker makes it, or it could not be made.
        """
        storage = self._services.settings.storage
        with self._services.database.transaction() as session:
            find_session(session, session_id)
            manifest = describe_session(session, session_id, raw_bucket=storage.raw_bucket)
            now, has_worker = self._circumstances(session)
        uri = spectrogram_uri(manifest, segment, bucket=storage.models_bucket, now=now)
        stored = self._read(uri)
        if stored is None or not stored.is_final(now):
            self._ask(uri, session_id, segment, has_worker=has_worker)
            return None
        self._asked.forget(uri)
        if stored.error is not None:
            _refuse(stored.error, manifest)
        return SpectrogramDocument.model_validate({"session_id": session_id, **(stored.spectrogram or {})})

    def _circumstances(self, session: Session) -> tuple[datetime, bool]:
        """The database's time, and whether a worker has been heard of lately."""
        silence = func.extract("epoch", func.now() - func.max(Worker.last_seen_at))
        now, seconds = session.execute(select(func.now(), silence)).one()
        return now, seconds is not None and seconds < self._services.settings.lease.lease_seconds

    def _read(self, uri: str) -> StoredSpectrogram | None:
        try:
            return read_stored(self._services.store.get_bytes(uri))
        except NotFound:
            return None

    def _ask(self, uri: str, session_id: UUID, segment: int, *, has_worker: bool) -> None:
        if not has_worker:
            self._asked.forget(uri)
            raise InfrastructureError(
                "no worker runs that could make the spectrogram",
                code="no_worker",
                hint="Start one (`heimdall up` runs one); GET /v1/workers lists those that were seen.",
            )
        is_due, seconds = self._asked.note(uri)
        if is_due:
            self._services.hints.ask_spectrogram(session_id, segment)
        if seconds > OVERDUE_SECONDS:
            raise InfrastructureError(
                f"no worker has made the spectrogram for {seconds:.0f} s",
                code="spectrogram_overdue",
                hint="Workers are busy with others, or do not hear of it: `heimdall doctor` checks Redis.",
            )


def _refuse(error: ErrorInfo, manifest: Manifest) -> NoReturn:
    """Raises what the worker found."""
    if error.code == "segment_not_found":
        raise NotFound(
            f"there is no such segment: {error.message}",
            code="segment_not_found",
            hint="`num_segments` of segment 0 says how many.",
        )
    if error.category in {ErrorCategory.DATA, ErrorCategory.USER}:
        raise DataError(
            f"session {manifest.sessions[0].id} cannot be read ({error.code}): {error.message}",
            code="recording_unreadable",
            hint=error.hint,
        )
    raise InfrastructureError(
        f"the spectrogram could not be made ({error.code}): {error.message}",
        code="spectrogram_failed",
        hint=error.hint or "It is tried again after a minute; the worker's log says more.",
    )


async def get_spectrograms(request: Request) -> Spectrograms:
    """Those of this application."""
    spectrograms: Spectrograms = request.app.state.spectrograms
    return spectrograms


SessionSpectrograms = Annotated[Spectrograms, Depends(get_spectrograms)]
