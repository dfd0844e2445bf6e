"""T5: the end of an attempt, told by the one who holds it."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Artifact, Job
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.job import AttemptOutcome, JobKind, JobStatus
from heimdall_core.jobs.claiming import Claim, LeaseLost
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.leases import close_attempt, end_attempt_unfinished, released

#: The adjustment after the first time that memory ran out.
MICRO_BATCH_SIZE = "micro_batch_size"
#: Makes the result of an attempt public in the transaction of its success; returns the job's ``result``.
Publish = Callable[[Session, Job], dict[str, Any]]


def succeed(session: Session, claim: Claim, *, artifacts: Sequence[dict[str, Any]], publish: Publish) -> None:
    """Running -> succeeded, with everything that the job hands out, in one transaction.

    Raises:
        LeaseLost: the job is no longer this attempt's; nothing was published.
    """
    job = _lock(session, claim)
    if artifacts:
        rows = [
            {"id": new_id("art"), "job_id": claim.job_id, "attempt": claim.attempt, **artifact}
            for artifact in artifacts
        ]
        session.execute(insert(Artifact), rows)
    result = publish(session, job)
    _end(session, claim, JobStatus.SUCCEEDED, result=result)
    close_attempt(session, claim.job_id, claim.attempt, outcome=AttemptOutcome.SUCCEEDED, exit_code=0)
    record_event(session, job, "job.succeeded", **_outline(result))


def fail(session: Session, claim: Claim, error: ErrorInfo, *, exit_code: int | None) -> None:
    """Running -> failed; or queued again, if the error may pass and a retry is left.

    A training that ran out of memory for the first time is tried again with a smaller micro-batch.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    job = _lock(session, claim)
    adjustments = smaller_micro_batch(job) if error.category is ErrorCategory.OOM else None
    if error.retryable or adjustments or job.cancel_requested_at is not None:
        end_attempt_unfinished(
            session,
            job,
            guard=claim.guard(),
            outcome=AttemptOutcome.FAILED,
            error=error,
            costs_retry=True,
            exit_code=exit_code,
            adjustments=adjustments,
        )
        return
    _end(session, claim, JobStatus.FAILED, error=error.to_dict())
    close_attempt(
        session, claim.job_id, claim.attempt, outcome=AttemptOutcome.FAILED, error=error, exit_code=exit_code
    )
    record_event(session, job, "job.failed", error=error.to_dict())


def smaller_micro_batch(job: Job) -> dict[str, Any] | None:
    """Half the batch (or its largest divisor below), accumulated to the same effective batch; once."""
    training = job.spec.get("training") or {}
    batch_size = int(training.get("batch_size", 1))
    if job.kind != JobKind.TRAIN or MICRO_BATCH_SIZE in job.adjustments or batch_size == 1:
        return None
    micro = next(size for size in range(batch_size // 2, 0, -1) if batch_size % size == 0)
    accumulate = int(training["accumulate_grad_batches"]) * (batch_size // micro)
    return {MICRO_BATCH_SIZE: micro, "accumulate_grad_batches": accumulate}


def finish_cancelled(session: Session, claim: Claim, *, exit_code: int | None) -> None:
    """Running -> cancelled.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    job = _lock(session, claim)
    _end(session, claim, JobStatus.CANCELLED)
    close_attempt(session, claim.job_id, claim.attempt, outcome=AttemptOutcome.CANCELLED, exit_code=exit_code)
    record_event(session, job, "job.cancelled")


def give_back(session: Session, claim: Claim, *, exit_code: int | None) -> None:
    """Running -> queued because the worker shuts down, or paused if that was asked for; costs no retry.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    job = _lock(session, claim)
    is_paused = job.pause_requested_at is not None
    end_attempt_unfinished(
        session,
        job,
        guard=claim.guard(),
        outcome=AttemptOutcome.PAUSED if is_paused else AttemptOutcome.PREEMPTED,
        error=None,
        costs_retry=False,
        exit_code=exit_code,
    )


def _lock(session: Session, claim: Claim) -> Job:
    job = session.scalar(select(Job).where(*claim.guard()).with_for_update())
    if job is None:
        raise LeaseLost(claim.job_id)
    return job


def _end(
    session: Session,
    claim: Claim,
    status: JobStatus,
    *,
    error: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
) -> None:
    statement = (
        update(Job)
        .where(*claim.guard())
        .values(**released(), status=status.value, finished_at=func.now(), error=error, result=result)
    )
    if session.execute(statement.returning(Job.id)).first() is None:
        raise LeaseLost(claim.job_id)


def _outline(result: dict[str, Any]) -> dict[str, Any]:
    """The part of a result that belongs into the history."""
    return {key: result[key] for key in ("model", "accepted", "session_count") if key in result}
