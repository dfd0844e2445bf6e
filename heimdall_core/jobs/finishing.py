"""T5: the end of an attempt, told by the one who holds it."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Artifact, Job
from heimdall_core.domain.errors import ErrorInfo
from heimdall_core.domain.job import AttemptOutcome, JobStatus
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.leases import Claim, LeaseLost, close_attempt, end_attempt_unfinished

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

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    job = _lock(session, claim)
    if error.retryable or job.cancel_requested_at is not None:
        end_attempt_unfinished(
            session,
            job,
            guard=claim.guard(),
            outcome=AttemptOutcome.FAILED,
            error=error,
            costs_retry=True,
            exit_code=exit_code,
        )
        return
    _end(session, claim, JobStatus.FAILED, error=error.to_dict())
    close_attempt(
        session, claim.job_id, claim.attempt, outcome=AttemptOutcome.FAILED, error=error, exit_code=exit_code
    )
    record_event(session, job, "job.failed", error=error.to_dict())


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
    """Running -> queued, because the worker shuts down; costs no retry.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    job = _lock(session, claim)
    end_attempt_unfinished(
        session,
        job,
        guard=claim.guard(),
        outcome=AttemptOutcome.PREEMPTED,
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
        .values(
            status=status.value,
            phase=None,
            lease_owner=None,
            lease_expires_at=None,
            finished_at=func.now(),
            updated_at=func.now(),
            error=error,
            result=result,
            revision=Job.revision + 1,
        )
    )
    if session.execute(statement.returning(Job.id)).first() is None:
        raise LeaseLost(claim.job_id)


def _outline(result: dict[str, Any]) -> dict[str, Any]:
    """The part of a result that belongs into the history."""
    return {key: result[key] for key in ("model", "accepted", "session_count") if key in result}
