"""T4 and T6: keeping a job, and taking it back from who went silent.

Every change is one guarded statement; no row back means: you lost, stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, JobAttempt
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.job import AttemptOutcome, JobStatus
from heimdall_core.jobs.claiming import Claim, LeaseLost, WorkerIdentity, from_now
from heimdall_core.jobs.events import record_event

#: First wait before another attempt; doubles with each failure, up to the ceiling.
BACKOFF_SECONDS = 2.0
BACKOFF_CEILING_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What callers have asked of a running job."""

    cancel: bool = False
    pause: bool = False
    finish: bool = False


def extend_lease(session: Session, claim: Claim, *, lease_seconds: float) -> Requests:
    """The heartbeat; brings back what was asked of the job.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    statement = update(Job).where(*claim.guard()).values(lease_expires_at=from_now(lease_seconds))
    return _requests(session.execute(statement.returning(*_FLAGS)).first(), claim)


def read_requests(session: Session, claim: Claim) -> Requests:
    """What was asked of the job, without writing.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    return _requests(session.execute(select(*_FLAGS).where(*claim.guard())).first(), claim)


_FLAGS = (Job.cancel_requested_at, Job.pause_requested_at, Job.finish_requested_at)


def _requests(flags: Sequence[datetime | None] | None, claim: Claim) -> Requests:
    if flags is None:
        raise LeaseLost(claim.job_id)
    cancel, pause, finish = (moment is not None for moment in flags)
    return Requests(cancel=cancel, pause=pause, finish=finish)


def database_uptime_seconds(session: Session) -> float:
    """How long the database server has been up."""
    uptime = func.extract("epoch", func.now() - func.pg_postmaster_start_time())
    return float(session.execute(select(uptime)).scalar_one())


def reap_expired(session: Session, *, limit: int = 100) -> Sequence[Job]:
    """Ends every attempt whose lease ran out: the job is queued again, failed, paused or cancelled.

    Any number of reapers may run: rows that another holds are passed over.
    """
    expired = (
        select(Job)
        .where(Job.status == JobStatus.RUNNING.value, Job.lease_expires_at < func.now())
        .order_by(Job.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(expired).all()
    return [job for job in jobs if _reap(session, job)]


def release_restarted(session: Session, worker: WorkerIdentity) -> Sequence[Job]:
    """Takes back what a former process of this very worker left behind, without waiting for the lease.

    Call only when that process is known to be gone and its trainers with it.
    """
    held = (
        select(Job)
        .where(Job.status == JobStatus.RUNNING.value, Job.lease_owner == worker.name)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(held).all()
    return [job for job in jobs if _reap(session, job)]


def _reap(session: Session, job: Job) -> bool:
    error = ErrorInfo(
        code="worker_lost",
        category=ErrorCategory.INFRA,
        message=f"the worker {job.lease_owner} went silent during attempt {job.attempt}",
        retryable=True,
        hint="See the worker's log; another attempt resumes from the newest durable checkpoint.",
    )
    return end_attempt_unfinished(
        session,
        job,
        guard=[Job.lease_owner == job.lease_owner, Job.lease_expires_at == job.lease_expires_at],
        outcome=AttemptOutcome.LOST,
        error=error,
        costs_retry=True,
    )


def end_attempt_unfinished(
    session: Session,
    job: Job,
    *,
    guard: Sequence[ColumnElement[bool]],
    outcome: AttemptOutcome,
    error: ErrorInfo | None,
    costs_retry: bool,
    exit_code: int | None = None,
    adjustments: dict[str, Any] | None = None,
) -> bool:
    """Running -> cancelled or paused if asked, failed if the retries are used up, else queued again."""
    failures = job.failures + int(costs_retry)
    status = _next_status(job, failures)
    waiting = status in {JobStatus.QUEUED, JobStatus.PAUSED}
    wait = min(BACKOFF_SECONDS * 2.0 ** max(failures - 1, 0), BACKOFF_CEILING_SECONDS) if costs_retry else 0
    statement = (
        update(Job)
        .where(Job.id == job.id, Job.status == JobStatus.RUNNING.value, Job.attempt == job.attempt, *guard)
        .values(
            **released(),
            status=status.value,
            failures=failures,
            preemptions=Job.preemptions + int(outcome is AttemptOutcome.PREEMPTED),
            adjustments=Job.adjustments.concat(adjustments or {}),
            not_before=from_now(wait),
            queued_at=func.now(),
            dispatched_at=None,
            pause_requested_at=None if status is JobStatus.PAUSED else Job.pause_requested_at,
            finished_at=None if waiting else func.now(),
            error=error.to_dict() if error and status is JobStatus.FAILED else None,
        )
    )
    if session.execute(statement.returning(Job.id)).first() is None:
        return False
    close_attempt(session, job.id, job.attempt, outcome=outcome, error=error, exit_code=exit_code)
    data = {"outcome": outcome.value, "error": error.to_dict() if error else None}
    name = "requeued" if status is JobStatus.QUEUED else status.value
    record_event(session, job, f"job.{name}", **data, **(adjustments or {}))
    return True


def released() -> dict[str, Any]:
    """The columns of a job whose attempt is over."""
    attempt_began_at = (
        select(JobAttempt.started_at)
        .where(JobAttempt.job_id == Job.id, JobAttempt.number == Job.attempt)
        .scalar_subquery()
    )
    seconds = func.extract("epoch", func.now() - attempt_began_at)
    return {
        "phase": None,
        "lease_owner": None,
        "lease_expires_at": None,
        "runtime_seconds": Job.runtime_seconds + func.coalesce(func.greatest(seconds, 0), 0),
        "updated_at": func.now(),
        "revision": Job.revision + 1,
    }


def _next_status(job: Job, failures: int) -> JobStatus:
    if job.cancel_requested_at is not None:
        return JobStatus.CANCELLED
    if failures >= job.max_attempts:
        return JobStatus.FAILED
    return JobStatus.QUEUED if job.pause_requested_at is None else JobStatus.PAUSED


def close_attempt(
    session: Session,
    job_id: str,
    number: int,
    *,
    outcome: AttemptOutcome,
    error: ErrorInfo | None = None,
    exit_code: int | None = None,
) -> None:
    """Writes how the attempt ended."""
    session.execute(
        update(JobAttempt)
        .where(JobAttempt.job_id == job_id, JobAttempt.number == number, JobAttempt.ended_at.is_(None))
        .values(
            ended_at=func.now(),
            outcome=outcome.value,
            error=error.to_dict() if error else None,
            exit_code=exit_code,
        )
    )
