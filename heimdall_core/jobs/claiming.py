"""T3: a worker takes the next job: by priority, then fair share between owners, then age."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, func, literal, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from heimdall_core.database.job_tables import Job, JobAttempt, Worker
from heimdall_core.domain.job import JobKind, JobPhase, JobStatus
from heimdall_core.domain.tracing import Trace, read_trace
from heimdall_core.jobs.capacity import LIGHT_KINDS, devices_of, num_devices, saves_up
from heimdall_core.jobs.events import record_event

__all__ = ["LIGHT_KINDS", "Claim", "LeaseLost", "WorkerIdentity", "claim_job", "eligible", "from_now"]

_PER_OWNER = 8
"""Candidates of each owner: as many claims at once may find each other's rows locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """Who claims."""

    name: str
    host: str
    boot_id: str
    has_gpu: bool
    #: Of one accelerator; of the host where there is none; None: not known.
    memory_bytes: int | None = None


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
    adjustments: dict[str, Any]
    #: What is left of the job's running time; None: no limit.
    runtime_left_seconds: float | None
    #: Slots that it takes at once.
    num_devices: int = 1
    #: Of the request that made the job.
    trace: Trace | None = None

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


def claim_job(
    session: Session,
    worker: WorkerIdentity,
    *,
    lease_seconds: float,
    kinds: Sequence[JobKind] = tuple(JobKind),
    max_running_per_owner: int | None = None,
    free_devices: int = 1,
    all_devices: int | None = None,
) -> Claim | None:
    """Takes the next due job that this worker can run. None: there is none, or the worker is draining.

    A job that wants more devices than are free now is passed over, unless this is the worker that saves
    up for it (``saves_up``): then what comes after it is not taken either.

    Args:
        session: the transaction; commit before anything is started.
        worker: who claims.
        lease_seconds: how long the job is this attempt's without a heartbeat.
        kinds: what this slot takes.
        max_running_per_owner: an owner with so many running jobs has to wait.
        free_devices: what one job can have now, the slot of the caller included.
        all_devices: what one job can have when nothing else runs there; None: no more than is free.
    """
    if _is_draining(session, worker.name):
        return None
    # A worker that others keep from its larger jobs looks among the smaller ones alone.
    for most in sorted({all_devices or free_devices, free_devices}, reverse=True):
        passed_over = False
        statement = _candidates(worker, kinds, max_running_per_owner, most)
        for job_id, owner, devices in session.execute(statement).all():
            if devices > free_devices:
                if saves_up(session, worker.name, job_id, alive_seconds=lease_seconds):
                    return None
                passed_over = True
                continue
            if max_running_per_owner is not None and not _has_room(session, owner, max_running_per_owner):
                continue
            if claim := _take(session, job_id, worker, lease_seconds):
                return claim
        if not passed_over:
            return None
    return None


def eligible(
    worker: WorkerIdentity, kinds: Sequence[JobKind], max_devices: int = 1
) -> list[ColumnElement[bool]]:
    """True of the queued jobs that are due and that this worker can run on so many devices."""
    accelerators = ["auto", "cpu"] + (["gpu"] if worker.has_gpu else [])
    fits = or_(Job.min_memory_bytes.is_(None), Job.min_memory_bytes <= (worker.memory_bytes or 0))
    return [
        Job.status == JobStatus.QUEUED.value,
        Job.not_before <= func.now(),
        Job.cancel_requested_at.is_(None),
        Job.accelerator.in_(accelerators),
        Job.kind.in_([kind.value for kind in kinds]),
        fits,
        num_devices() <= max_devices,
    ]


def _is_draining(session: Session, name: str) -> bool:
    """Locked until the claim commits: whoever has drained the worker sees all that it runs."""
    statement = select(Worker.draining_at).where(Worker.name == name).with_for_update(read=True)
    return session.scalar(statement) is not None


def _candidates(
    worker: WorkerIdentity, kinds: Sequence[JobKind], limit_per_owner: int | None, max_devices: int
) -> Any:
    """The best few jobs of each owner, best first; cheap however many are queued."""
    owners = _queued_owners()
    running = _running_by_owner()
    first = (
        select(Job.id, Job.priority_rank, Job.created_at, num_devices().label("num_devices"))
        .where(Job.owner == owners.c.owner, *eligible(worker, kinds, max_devices))
        .order_by(Job.priority_rank.desc(), Job.created_at, Job.id)
        .limit(_PER_OWNER)
        .lateral("first")
    )
    num_running = func.coalesce(running.c.num_running, 0)
    statement = (
        select(first.c.id, owners.c.owner, first.c.num_devices)
        .select_from(owners)
        .join(first, true())
        .outerjoin(running, running.c.owner == owners.c.owner)
        .order_by(first.c.priority_rank.desc(), num_running, first.c.created_at, first.c.id)
        .limit(_PER_OWNER)
    )
    return statement if limit_per_owner is None else statement.where(num_running < limit_per_owner)


def _queued_owners() -> CTE:
    """Every owner with a queued job, each found by one look into the index."""
    queued = Job.status == JobStatus.QUEUED.value
    smallest = select(func.min(Job.owner).label("owner")).where(queued)
    owners = smallest.cte("owners", recursive=True)
    later = aliased(Job)
    following = (
        select(func.min(later.owner))
        .where(later.status == JobStatus.QUEUED.value, later.owner > owners.c.owner)
        .correlate(owners)
        .scalar_subquery()
    )
    return owners.union_all(select(following).where(owners.c.owner.is_not(None)))


def _running_by_owner() -> FromClause:
    return (
        select(Job.owner, func.count().label("num_running"))
        .where(Job.status == JobStatus.RUNNING.value)
        .group_by(Job.owner)
        .subquery("running")
    )


def _has_room(session: Session, owner: str, limit: int) -> bool:
    """Whether the owner may start another; claims of one owner's jobs go one after the other from here."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"quota {owner}", 0))))
    running = (Job.owner == owner, Job.status == JobStatus.RUNNING.value)
    return (session.scalar(select(func.count()).select_from(Job).where(*running)) or 0) < limit


def _take(session: Session, job_id: str, worker: WorkerIdentity, lease_seconds: float) -> Claim | None:
    lockable = select(Job.id).where(Job.id == job_id).with_for_update(skip_locked=True).scalar_subquery()
    statement = (
        update(Job)
        .where(
            Job.id == lockable,
            Job.status == JobStatus.QUEUED.value,
            Job.not_before <= func.now(),
            Job.cancel_requested_at.is_(None),
        )
        .values(
            status=JobStatus.RUNNING.value,
            phase=JobPhase.PREPARING.value,
            # What runs is joined no more: it may wait again beside the next that is queued.
            coalesce_key=None,
            attempt=Job.attempt + 1,
            lease_owner=worker.name,
            lease_expires_at=from_now(lease_seconds),
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
    return _claim_of(job, worker, float(waited_seconds))


def _claim_of(job: Job, worker: WorkerIdentity, waited_seconds: float) -> Claim:
    limit = job.max_runtime_seconds
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
        waited_seconds=waited_seconds,
        adjustments=job.adjustments,
        runtime_left_seconds=None if limit is None else max(0.0, limit - job.runtime_seconds),
        num_devices=devices_of(job.spec),
        trace=read_trace(job.traceparent, job.tracestate),
    )


def from_now(seconds: float) -> Any:
    """A moment of the database's clock."""
    return func.now() + literal(timedelta(seconds=seconds))
