"""Spectrograms that the api was asked for, each made in a child of the fork server with a limit of time.

What is asked for is a hint and may be lost: whoever still wants it asks again. What was made, or why it could
not be, lies in the object store; see docs/decisions/0013.
"""

import json
import os
import queue
import selectors
import signal
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select

from heimdall_core.datasets.lone_sessions import describe_session
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo, HeimdallError, NotFound
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.spectrograms import StoredSpectrogram, read_stored, spectrogram_uri
from worker.endings import explain_exit
from worker.process_control import boot_seconds
from worker.supervision import Host
from worker.trainer_process import EXIT_STOPPED
from worker.trainers import Trainer

LIMIT_SECONDS = 45.0
_MOST_WAITING = 32
_LOOK_SECONDS = 0.2
_KILL_SECONDS = 10.0
_LOG_BYTES = 4000
#: What a child says last; what else it says of itself is of no use here.
_ENDS = {"result", "error"}
TOO_SLOW = ErrorInfo(
    code="spectrogram_too_slow",
    category=ErrorCategory.INFRA,
    message=f"it was not made within {LIMIT_SECONDS:g} s",
    retryable=True,
    hint="The recordings are very long, or the worker's host is busy.",
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for."""

    session_id: UUID
    segment: int


class SpectrogramMaker:
    """One thread: a worker makes one spectrogram at a time, beside its jobs."""

    def __init__(self, host: Host, *, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._host, self._limit_seconds = host, limit_seconds
        self._wanted: queue.Queue[Wanted | None] = queue.Queue(maxsize=_MOST_WAITING)
        self._waiting: set[Wanted] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spectrograms", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def ask(self, session_id: UUID, segment: int) -> None:
        """Never blocks; what waits already is not made twice, and what is too much is forgotten."""
        wanted = Wanted(session_id, segment)
        with self._lock:
            if wanted in self._waiting or len(self._waiting) >= _MOST_WAITING:
                return
            self._waiting.add(wanted)
            self._wanted.put_nowait(wanted)

    def close(self) -> None:
        """Ends the thread; a child that still works is killed."""
        self._ending.set()
        with self._lock:
            if self._wanted.full():
                self._wanted.get_nowait()
            self._wanted.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout=_KILL_SECONDS)

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._ending.is_set():
            try:
                self._make(wanted)
            except HeimdallError as refused:
                _log.warning("spectrogram_refused", session_id=str(wanted.session_id), reason=refused.message)
            except Exception:  # noqa: BLE001 - the thread must outlive whatever is wrong with one session
                _log.exception("spectrogram_failed", session_id=str(wanted.session_id))
            finally:
                with self._lock:
                    self._waiting.discard(wanted)

    def _make(self, wanted: Wanted) -> None:
        storage = self._host.settings.storage
        manifest, now = self._describe(wanted)
        uri = spectrogram_uri(manifest, wanted.segment, bucket=storage.models_bucket, now=now)
        if self._is_made(uri, now):
            return
        started = time.monotonic()
        error = self._compute(manifest, wanted.segment, uri)
        seconds = time.monotonic() - started
        if error is not None and not self._ending.is_set():
            failed = StoredSpectrogram(error=error, failed_at=now + timedelta(seconds=seconds))
            self._host.store.put_bytes(uri, failed.to_json())
        facts = {
            "session_id": str(wanted.session_id),
            "segment": wanted.segment,
            "seconds": round(seconds, 3),
        }
        _log.info("spectrogram_made", **facts, error=None if error is None else error.code)

    def _describe(self, wanted: Wanted) -> tuple[Manifest, datetime]:
        raw_bucket = self._host.settings.storage.raw_bucket
        with self._host.database.transaction() as session:
            manifest = describe_session(session, wanted.session_id, raw_bucket=raw_bucket)
            return manifest, session.scalars(select(func.now())).one()

    def _is_made(self, uri: str, now: datetime) -> bool:
        try:
            return read_stored(self._host.store.get_bytes(uri)).is_final(now)
        except NotFound:
            return False

    def _compute(self, manifest: Manifest, segment: int, uri: str) -> ErrorInfo | None:
        """Why it could not be made; None: it lies at ``uri``."""
        trainer = self._host.fork_server.spawn()
        until = boot_seconds() + self._limit_seconds
        try:
            # The child ends itself a moment later, whatever holds this process up.
            trainer.send(_start_message(manifest, segment, uri, alive_until=until + _LOOK_SECONDS))
            said = self._listen(trainer, until)
            exit_code = trainer.exit_code(0.0 if said is None else _KILL_SECONDS)
        finally:
            if trainer.exit_code() is None:
                trainer.signal_group(signal.SIGKILL)
                trainer.exit_code(_KILL_SECONDS)
            trainer.close()
        if said is None or exit_code is None or exit_code == EXIT_STOPPED:
            return TOO_SLOW
        return explain_exit(exit_code, said.get("error"), has_result="result" in said)

    def _listen(self, trainer: Trainer, until: float) -> dict[str, Any] | None:
        """How the child ended, in its own words, by type; None: its time is over."""
        heard = {trainer.events: bytearray(), trainer.log: bytearray()}
        with selectors.DefaultSelector() as selector:
            for descriptor in heard:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                if boot_seconds() > until or self._ending.is_set():
                    return None
                for key, _ in selector.select(_LOOK_SECONDS):
                    data = os.read(key.fd, 65_536)
                    heard[key.fd] += data
                    if not data:
                        selector.unregister(key.fd)
        if log := heard[trainer.log]:
            _log.info("spectrogram_log", text=log[-_LOG_BYTES:].decode(errors="replace"))
        messages = [json.loads(line) for line in heard[trainer.events].splitlines()]
        return {m["type"]: m[m["type"]] for m in messages if m["type"] in _ENDS}


def _start_message(manifest: Manifest, segment: int, uri: str, *, alive_until: float) -> dict[str, Any]:
    return {
        "kind": "spectrogram",
        "inputs": {"manifest": manifest.to_dict(), "segment": segment, "uri": uri},
        # It never needs an accelerator.
        "devices": "",
        "alive_until": alive_until,
    }
