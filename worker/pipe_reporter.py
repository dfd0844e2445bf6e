"""The trainer's ``Reporter``: JSON lines over a pipe of its own, never parsed from stdout.

What a person wants to read of it goes to the log as well, which is the attempt's.
"""

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.ports import Artifact, Checkpoint, Progress, StopRequest, StoredObject
from worker.usage import held_memory

_PROGRESS_INTERVAL_SECONDS = 0.25
#: Events that somebody should look at.
_WARNINGS: Final = frozenset(
    {"tracking_unavailable", "labels_suspected", "sessions_left_out", "import_progress_lost", "file_refused"}
)
_log = structlog.get_logger(__name__)


class PipeReporter:
    """Sends each report as one line; safe for threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._stop: StopRequest | None = None
        self._finish = False
        self._last_progress = -math.inf

    def send(self, kind: str, **data: Any) -> None:
        """Writes one message; if the supervisor is gone there is nobody to tell."""
        line = json.dumps({"type": kind} | data, default=str).encode() + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                return

    def request_stop(self, request: StopRequest) -> None:
        """Called when the supervisor asks; the job sees it at its next safe point."""
        self._stop = request

    def request_finish(self) -> None:
        """Called when the supervisor says that the training shall end with what it has."""
        self._finish = True

    def phase(self, phase: JobPhase) -> None:
        """A new phase begins."""
        self._last_progress = -math.inf
        _log.info("phase", phase=phase.value)
        self.send("phase", phase=phase.value, at=time.time())

    def progress(self, progress: Progress) -> None:
        """At most four times a second, and always the last step."""
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_INTERVAL_SECONDS and progress.step != progress.steps:
            return
        self._last_progress = now
        self.send("progress", progress=replace(progress, memory_bytes=held_memory()).to_dict())

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Points of the curves; what is not finite has no place in JSON and is left out."""
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if any(name.startswith("val_") for name in finite):
            _log.info("validated", epoch=epoch, step=step, **_short(finite))
        if finite:
            self.send("metrics", values=finite, step=step, epoch=epoch)

    def event(self, name: str, **data: Any) -> None:
        """A line of the job's history."""
        told = {key: value for key, value in data.items() if key != "event"}
        (_log.warning if name in _WARNINGS else _log.info)(name, **told)
        self.send("event", name=name, data=data)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """A durable checkpoint exists."""
        self.send(
            "checkpoint",
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            metrics=dict(checkpoint.metrics),
            uri=checkpoint.object.uri,
            sha256=checkpoint.object.sha256,
            num_bytes=checkpoint.object.num_bytes,
            at_epoch_end=checkpoint.at_epoch_end,
        )

    def artifact(self, artifact: Artifact) -> None:
        """A file exists, to be published with the success."""
        self.send("artifact", artifact=_artifact_row(artifact))

    def stop_requested(self) -> StopRequest | None:
        """Whether to end at the next safe point."""
        return self._stop

    def finish_requested(self) -> bool:
        """Whether the training shall end now."""
        return self._finish


def _short(values: Mapping[str, float]) -> dict[str, float]:
    """As many digits as a person reads."""
    return {name: float(f"{value:.5g}") for name, value in values.items()}


def _artifact_row(artifact: Artifact) -> dict[str, Any]:
    stored: StoredObject = artifact.object
    return {
        "name": artifact.name,
        "kind": artifact.kind,
        "uri": stored.uri,
        "sha256": stored.sha256,
        "num_bytes": stored.num_bytes,
        "media_type": stored.media_type,
        "facts": dict(artifact.metadata),
    }
