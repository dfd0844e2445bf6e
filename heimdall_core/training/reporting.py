"""What a training run tells: one reporter for several threads, and a percentage that never goes back."""

import threading
from collections.abc import Mapping
from typing import Any

from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.ports import Artifact, Checkpoint, Progress, Reporter, StopRequest

#: Where each phase begins and ends in the percentage of the whole job.
PHASE_SPAN: dict[JobPhase, tuple[float, float]] = {
    JobPhase.PREPARING: (0.0, 10.0),
    JobPhase.TRAINING: (10.0, 85.0),
    JobPhase.EVALUATING: (85.0, 92.0),
    JobPhase.EXPORTING: (92.0, 98.0),
    JobPhase.REGISTERING: (98.0, 100.0),
}

#: What is of one moment of the training and of no later phase.
_PASSING = frozenset({"step", "steps", "eta_seconds"})


class JobReporter:
    """Passes on to a reporter, one call at a time, and keeps the percentage of the whole job."""

    def __init__(self, target: Reporter) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._phase = JobPhase.PREPARING
        self._percent = 0.0
        self._counts: dict[str, Any] = {}

    def phase(self, phase: JobPhase) -> None:
        """A new phase begins."""
        with self._lock:
            self._phase = phase
            self._target.phase(phase)
        self.advance(0.0)

    def advance(self, fraction: float, **counts: Any) -> None:
        """``fraction`` (0..1) of the present phase is done; ``counts`` are the other fields of Progress.

        How many epochs were trained, and how fast, stays told when later phases tell only their fraction.
        """
        with self._lock:
            self._counts |= counts
            kept = {name: value for name, value in self._counts.items() if counts or name not in _PASSING}
            begin, end = PHASE_SPAN[self._phase]
            self._percent = max(self._percent, round(begin + (end - begin) * min(1.0, fraction), 2))
            self._target.progress(Progress(percent=self._percent, **kept))

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Points of the job's curves."""
        with self._lock:
            self._target.metrics(values, step=step, epoch=epoch)

    def event(self, name: str, **data: Any) -> None:
        """Something worth a line in the job's history."""
        with self._lock:
            self._target.event(name, **data)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """A durable checkpoint exists."""
        with self._lock:
            self._target.checkpoint(checkpoint)

    def artifact(self, artifact: Artifact) -> None:
        """A file exists."""
        with self._lock:
            self._target.artifact(artifact)

    def stop_requested(self) -> StopRequest | None:
        """Whether the job must end at the next safe point, and why."""
        return self._target.stop_requested()

    def finish_requested(self) -> bool:
        """Whether the training shall end now and the job go on with the best weights so far."""
        return self._target.finish_requested()
