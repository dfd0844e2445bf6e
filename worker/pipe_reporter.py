"""The trainer's ``Reporter``: JSON lines over a pipe of its own, never parsed from stdout."""

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.ports import Artifact, Checkpoint, Progress, StopRequest, StoredObject

_PROGRESS_INTERVAL_SECONDS = 0.25


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
        self.send("phase", phase=phase.value)

    def progress(self, progress: Progress) -> None:
        """At most four times a second, and always the last step."""
        now = time.monotonic()
        if now - self._last_progress < _PROGRESS_INTERVAL_SECONDS and progress.step != progress.steps:
            return
        self._last_progress = now
        self.send("progress", progress=progress.to_dict())

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Points of the curves; what is not finite has no place in JSON and is left out."""
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if finite:
            self.send("metrics", values=finite, step=step, epoch=epoch)

    def event(self, name: str, **data: Any) -> None:
        """A line of the job's history."""
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
