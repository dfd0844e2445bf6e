"""T3, T4 and T6: claiming a job, keeping it, and taking it back from who went silent.

Every change is one guarded statement; no row back means: you lost, stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, literal, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, JobAttempt
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.job import AttemptOutcome, JobPhase, JobStatus
from heimdall_core.jobs.events import record_event

#: First wait before another attempt; doubles with each failure, up to the ceiling.
BACKOFF_SECONDS = 2.0
BACKOFF_CEILING_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """Who claims."""

    name: str
    host: str
    boot_id: str
    has_gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A running attempt, and the fence (job, attempt, owner) that every report of it must pass."""

    job_id: str
    attempt: int
    lease_owner: str
    kind: str
    owner: str
    spec: dict[str, Any]
    inputs: dict[str, Any]
    max_attempts: int
    failures: int
    waited_seconds: float

    def guard(self) -> list[ColumnElement[bool]]:
        """True of the row while this attempt holds it."""
        return [
            Job.id == self.job_id,
            Job.status == JobStatus.RUNNING.value,
            Job.attempt == self.attempt,
            Job.lease_owner == self.lease_owner,
        ]


class LeaseLost(Exception):
    """The attempt no longer holds its job; whatever it has to say comes too late."""


def claim_job(session: Session, worker: WorkerIdentity, *, lease_seconds: float) -> Claim | None:
    """Takes the next due job: by priority, then age. None: there is none for this worker."""
    accelerators = ["auto", "cpu"] + (["gpu"] if worker.has_gpu else [])
    candidate = (
        select(Job.id)
        .where(
            Job.status == JobStatus.QUEUED.value,
            Job.not_before <= func.now(),
            Job.cancel_requested_at.is_(None),
            Job.accelerator.in_(accelerators),
        )
        .order_by(Job.priority_rank.desc(), Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(Job)
        .where(Job.id == candidate, Job.status == JobStatus.QUEUED.value)
        .values(
            status=JobStatus.RUNNING.value,
            phase=JobPhase.PREPARING.value,
            attempt=Job.attempt + 1,
            lease_owner=worker.name,
            lease_expires_at=_from_now(lease_seconds),
            started_at=func.coalesce(Job.started_at, func.now()),
            updated_at=func.now(),
            revision=Job.revision + 1,
        )
    )
    waited = func.extract("epoch", func.clock_timestamp() - Job.created_at)
    row = session.execute(
        statement.returning(Job, waited), execution_options={"synchronize_session": False}
    ).first()
    if row is None:
        return None
    job, waited_seconds = row
    session.add(
        JobAttempt(
            job_id=job.id, number=job.attempt, worker=worker.name, host=worker.host, boot_id=worker.boot_id
        )
    )
    record_event(session, job, "job.started", worker=worker.name)
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        lease_owner=worker.name,
        kind=job.kind,
        owner=job.owner,
        spec=job.spec,
        inputs=job.inputs,
        max_attempts=job.max_attempts,
        failures=job.failures,
        waited_seconds=float(waited_seconds),
    )


def extend_lease(session: Session, claim: Claim, *, lease_seconds: float) -> bool:
    """The heartbeat. Returns whether cancelling was requested.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    statement = update(Job).where(*claim.guard()).values(lease_expires_at=_from_now(lease_seconds))
    row = session.execute(statement.returning(Job.cancel_requested_at)).first()
    if row is None:
        raise LeaseLost(claim.job_id)
    return row[0] is not None


def read_cancel_flag(session: Session, claim: Claim) -> bool:
    """Whether cancelling was requested, without writing.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    row = session.execute(select(Job.cancel_requested_at).where(*claim.guard())).first()
    if row is None:
        raise LeaseLost(claim.job_id)
    return row[0] is not None


def reap_expired(session: Session, *, limit: int = 100) -> Sequence[Job]:
    """Ends every attempt whose lease ran out: the job is queued again, failed or cancelled.

    Any number of reapers may run: rows that another holds are passed over.
    """
    expired = (
        select(Job.id)
        .where(Job.status == JobStatus.RUNNING.value, Job.lease_expires_at < func.now())
        .order_by(Job.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(select(Job).where(Job.id.in_(expired))).all()
    return [job for job in jobs if _reap(session, job)]


def release_restarted(session: Session, worker: WorkerIdentity) -> Sequence[Job]:
    """Takes back what a former process of this very worker left behind, without waiting for the lease.

    Call only when that process is known to be gone and its trainers with it.
    """
    held = (
        select(Job.id)
        .where(Job.status == JobStatus.RUNNING.value, Job.lease_owner == worker.name)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(select(Job).where(Job.id.in_(held))).all()
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
) -> bool:
    """Running -> cancelled if asked, failed if the retries are used up, else queued again after a wait."""
    failures = job.failures + int(costs_retry)
    status = _next_status(job, failures)
    waiting = status is JobStatus.QUEUED
    wait = min(BACKOFF_SECONDS * 2.0 ** max(failures - 1, 0), BACKOFF_CEILING_SECONDS) if costs_retry else 0
    statement = (
        update(Job)
        .where(Job.id == job.id, Job.status == JobStatus.RUNNING.value, Job.attempt == job.attempt, *guard)
        .values(
            status=status.value,
            phase=None,
            failures=failures,
            lease_owner=None,
            lease_expires_at=None,
            not_before=_from_now(wait),
            dispatched_at=None,
            finished_at=None if waiting else func.now(),
            error=error.to_dict() if error and status is JobStatus.FAILED else None,
            updated_at=func.now(),
            revision=Job.revision + 1,
        )
    )
    if session.execute(statement.returning(Job.id)).first() is None:
        return False
    close_attempt(session, job.id, job.attempt, outcome=outcome, error=error, exit_code=exit_code)
    data = {"outcome": outcome.value, "error": error.to_dict() if error else None}
    record_event(session, job, "job.requeued" if waiting else f"job.{status.value}", **data)
    return True


def _next_status(job: Job, failures: int) -> JobStatus:
    if job.cancel_requested_at is not None:
        return JobStatus.CANCELLED
    return JobStatus.FAILED if failures >= job.max_attempts else JobStatus.QUEUED


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


def _from_now(seconds: float) -> Any:
    return func.now() + literal(timedelta(seconds=seconds))
