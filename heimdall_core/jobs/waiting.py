"""Why the queue waits, and how long jobs have waited of late."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Double, Select, cast, func, select
from sqlalchemy.orm import Session, defer

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.jobs.capacity import num_devices
from heimdall_core.jobs.queue_facts import QueuePolicy, WaitReason, queue_facts

_WITHIN: Final = timedelta(days=1)
_NEWEST: Final = 1000
"""Started jobs that tell how long jobs wait, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingGroup:
    """The queued jobs that wait for the same reason."""

    reason: WaitReason
    num_jobs: int
    oldest_queued_at: datetime
    """When the first of them began to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentWait:
    """How long the jobs of one kind waited that were submitted within a day and have started."""

    kind: JobKind
    num_jobs: int
    p50_seconds: float
    p90_seconds: float


def waiting_groups(session: Session, policy: QueuePolicy) -> list[WaitingGroup]:
    """The queued jobs by reason, the most frequent first; one job speaks for all with the same needs."""
    by_owner = policy.max_running_per_owner is not None
    spokesmen = {row.id: row for row in session.execute(_select_needs(by_owner=by_owner))}
    jobs = session.scalars(select(Job).where(Job.id.in_(spokesmen)).options(defer(Job.inputs))).all()
    counts: Counter[WaitReason] = Counter()
    oldest: dict[WaitReason, datetime] = {}
    for job_id, facts in queue_facts(session, jobs, policy).items():
        group = spokesmen[job_id]
        counts[facts.reason] += group.num_jobs
        oldest[facts.reason] = min(group.oldest_queued_at, oldest.get(facts.reason, group.oldest_queued_at))
    return [
        WaitingGroup(reason=reason, num_jobs=num_jobs, oldest_queued_at=oldest[reason])
        for reason, num_jobs in counts.most_common()
    ]


def recent_waits(session: Session) -> list[RecentWait]:
    """By kind, of those kinds of which a job has started."""
    seconds = cast(func.extract("epoch", Job.started_at - Job.created_at), Double)
    newest = (
        select(Job.kind, seconds.label("seconds"))
        .where(Job.created_at > func.now() - _WITHIN, Job.started_at.is_not(None))
        .order_by(Job.created_at.desc())
        .limit(_NEWEST)
        .subquery()
    )
    p50, p90 = (func.percentile_cont(q).within_group(newest.c.seconds) for q in (0.5, 0.9))
    rows = session.execute(select(newest.c.kind, func.count(), p50, p90).group_by(newest.c.kind))
    waits = [
        RecentWait(kind=JobKind(kind), num_jobs=num_jobs, p50_seconds=median, p90_seconds=late)
        for kind, num_jobs, median, late in rows
    ]
    return sorted(waits, key=lambda wait: list(JobKind).index(wait.kind))


def _select_needs(*, by_owner: bool) -> Select[Any]:
    """Queued jobs with the same outlook, by what decides about it."""
    is_early = Job.not_before > func.now()
    needs = (Job.kind, Job.accelerator, Job.min_memory_bytes, num_devices(), is_early)
    oldest = func.min(Job.queued_at).label("oldest_queued_at")
    columns: tuple[Any, ...] = (func.min(Job.id).label("id"), func.count().label("num_jobs"), oldest)
    grouped = select(*columns).where(Job.status == JobStatus.QUEUED.value).group_by(*needs)
    return grouped.group_by(Job.owner) if by_owner else grouped
