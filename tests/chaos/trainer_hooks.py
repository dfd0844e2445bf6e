"""Preloaded into the fork server: trainers say when they run, and pass by the crash points."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heimdall_core.storage import S3Store
from heimdall_core.training.callbacks import DurableCheckpoints, ProgressReporting
from tests.chaos import trace
from tests.chaos.crash_points import pass_by
from worker import trainer_process

#: A tag of a job that is no use to anybody: how its trainer behaves.
BEHAVIOUR = "chaos"
_BEAT_SECONDS = 0.1
#: Between two steps of a quiet trainer: as long as it may go on without a heartbeat.
_QUIET_SECONDS = float(os.environ.get("HEIMDALL_CHAOS_QUIET_SECONDS", "3.2"))
_who: dict[str, Any] = {}
_manner = {"pause_seconds": 0.0, "steps": 0}


def _run(original: Callable[..., int]) -> Callable[..., int]:
    def run(start: dict[str, Any], reporter: Any) -> int:
        _who.update(job=start["job_id"], attempt=start["attempt"])
        trace.record("trainer_start", kind=start["kind"], resumed=bool(start["resume_from"]), **_who)
        threading.Thread(target=_beat, daemon=True).start()
        _behave(start["spec"]["tags"].get(BEHAVIOUR), reporter)
        code = original(start, reporter)
        trace.record("trainer_end", code=code, **_who)
        return code

    return run


def _beat() -> None:
    while True:
        trace.record("trainer_alive", **_who)
        time.sleep(_BEAT_SECONDS)


def _behave(behaviour: str | None, reporter: Any) -> None:
    if behaviour == "poison":
        trace.record("poisoned", **_who)
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "quiet":
        _manner["pause_seconds"] = _QUIET_SECONDS
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        reporter.stop_requested = lambda: None


def _on_batch(original: Callable[..., None]) -> Callable[..., None]:
    def on_train_batch_end(self: ProgressReporting, trainer: Any, *arguments: Any) -> None:
        original(self, trainer, *arguments)
        if not _manner["steps"]:
            trace.record("first_step", step=trainer.global_step, **_who)
        _manner["steps"] += 1
        pass_by("mid_step", **_who)
        time.sleep(_manner["pause_seconds"])

    return on_train_batch_end


def _save(original: Callable[..., None]) -> Callable[..., None]:
    def save(self: DurableCheckpoints, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        pass_by("mid_checkpoint", **_who)

    return save


def _put_file(original: Callable[..., Any]) -> Callable[..., Any]:
    def put_file(self: S3Store, uri: str, path: Path, **named: Any) -> Any:
        pass_by("before_upload", **_who)
        stored = original(self, uri, path, **named)
        pass_by("after_upload", **_who)
        return stored

    return put_file


trainer_process.run = _run(trainer_process.run)
ProgressReporting.on_train_batch_end = _on_batch(ProgressReporting.on_train_batch_end)  # type: ignore[method-assign]
DurableCheckpoints._save = _save(DurableCheckpoints._save)  # type: ignore[method-assign]
S3Store.put_file = _put_file(S3Store.put_file)  # type: ignore[method-assign]
