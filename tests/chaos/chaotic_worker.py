"""The Celery command line with crash points in the worker: ``python -m tests.chaos.chaotic_worker ...``.

Production code stays as it is: its functions are wrapped before Celery starts.
``HEIMDALL_CHAOS_UNFENCED=1`` takes the fence away.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobStatus
from heimdall_core.jobs import finishing, hints
from heimdall_core.jobs.claiming import Claim
from tests.chaos import trace
from tests.chaos.crash_points import pass_by
from worker import slots, supervision, trainers

UNFENCED = "HEIMDALL_CHAOS_UNFENCED"
#: The run tracks nothing and seldom exports: without these the preload of a restarted worker takes seconds less.
_NOT_PRELOADED = {"mlflow", "onnx", "onnxruntime"}
PRELOAD = (*(name for name in trainers.PRELOAD if name not in _NOT_PRELOADED), "tests.chaos.trainer_hooks")


def _around(
    owner: Any, name: str, *, before: str | None = None, after: str | None = None, if_result: bool = False
) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            pass_by(before)
        result = original(*arguments, **named)
        if after and (result is not None or not if_result):
            pass_by(after)
        return result

    setattr(owner, name, wrapped)


def _only_id_and_status(self: Claim) -> list[ColumnElement[bool]]:
    return [Job.id == self.job_id, Job.status == JobStatus.RUNNING.value]


def take_fence_away() -> None:
    """From here on an attempt needs no more than a running job."""
    Claim.guard = _only_id_and_status  # type: ignore[method-assign]


def _trace_attempts() -> None:
    original = supervision.Attempt.run

    def run(self: supervision.Attempt) -> None:
        claim = self._claim
        trace.record("attempt_start", job=claim.job_id, attempt=claim.attempt, worker=claim.lease_owner)
        try:
            original(self)
        except BaseException as error:
            trace.record("slot_died", job=claim.job_id, attempt=claim.attempt, error=repr(error))
            raise
        trace.record("attempt_end", job=claim.job_id, attempt=claim.attempt, worker=claim.lease_owner)

    supervision.Attempt.run = run  # type: ignore[method-assign]


def main() -> None:
    """Wraps, then becomes Celery."""
    trainers.ForkServer.__init__.__kwdefaults__["preload"] = PRELOAD
    _around(slots, "claim_job", after="in_claim", if_result=True)
    _around(slots.SlotPool, "_claim", after="after_claim", if_result=True)
    _around(trainers.ForkServer, "spawn", before="before_spawn", after="after_spawn")
    _around(finishing, "succeed", before="before_t5", after="in_t5")
    _around(supervision.Attempt, "_tell", after="after_t5")
    _around(hints.HintPublisher, "hint", before="before_hint")
    _trace_attempts()
    if os.environ.get(UNFENCED) == "1":
        take_fence_away()
    from celery.__main__ import main as celery

    sys.argv[0] = "celery"
    celery()


if __name__ == "__main__":
    main()
