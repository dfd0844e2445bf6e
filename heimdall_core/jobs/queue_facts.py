"""Where a queued job stands: its position, why it waits, and when it may start as jobs went before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.job import JobStatus
from heimdall_core.jobs.claiming import LIGHT_KINDS

_HISTORY = 50
"""Succeeded jobs that tell how long the next ones take."""
_FEW = 3
"""So many positions are counted one by one; more, in one pass over the queue."""


class WaitReason(StrEnum):
    """Why a queued job is not running."""

    #: Its ``not_before``, or the pause after a failure, has not come.
    NOT_BEFORE = "not_before"
    #: Its owner runs as many jobs as one owner may.
    QUOTA = "quota"
    #: No worker that is alive and not draining can run it.
    NO_WORKER = "no_worker"
    #: Every slot that can run it is taken.
    ACCELERATOR_BUSY = "accelerator_busy"
    #: A slot is free: it is about to be claimed.
    STARTING = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """What of the settings decides about waiting."""

    worker_alive_seconds: float = 120.0
    max_running_per_owner: int | None = None


DEFAULT_POLICY = QueuePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """Where one queued job stands."""

    position: int
    """1: the next."""
    reason: WaitReason
    estimated_start_at: datetime | None
    """Median; None: no worker, or no history."""
    estimated_start_p90_at: datetime | None


def queue_facts(session: Session, jobs: Sequence[Job], policy: QueuePolicy) -> dict[str, QueueFacts]:
    """The facts of queued jobs by id; nothing is read if there is none."""
    if not jobs:
        return {}
    positions = _positions(session, jobs)
    fleet = _Fleet.read(session, policy)
    return {job.id: fleet.facts(job, positions[job.id]) for job in jobs if job.id in positions}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fleet:
    """Workers, running jobs and history at one moment."""

    now: datetime
    policy: QueuePolicy
    workers: Sequence[Worker]
    running: Sequence[Any]
    """(kind, owner, worker, attempt's seconds so far)."""
    durations: Mapping[str, tuple[float, float]]
    """Median and 90th percentile of the seconds that a kind takes."""

    @staticmethod
    def read(session: Session, policy: QueuePolicy) -> "_Fleet":
        alive = Worker.last_seen_at > func.now() - timedelta(seconds=policy.worker_alive_seconds)
        seconds = func.extract("epoch", func.now() - Job.started_at)
        return _Fleet(
            now=session.execute(select(func.now())).scalar_one(),
            policy=policy,
            workers=session.scalars(select(Worker).where(alive, Worker.draining_at.is_(None))).all(),
            running=session.execute(
                select(Job.kind, Job.owner, Job.lease_owner, seconds).where(
                    Job.status == JobStatus.RUNNING.value
                )
            ).all(),
            durations=_durations(session),
        )

    def facts(self, job: Job, position: int) -> QueueFacts:
        able = [worker for worker in self.workers if _can_run(worker, job)]
        reason = self._reason(job, able)
        p50, p90 = (self._start(job, position, able, reason, rank) for rank in (0, 1))
        return QueueFacts(
            position=position, reason=reason, estimated_start_at=p50, estimated_start_p90_at=p90
        )

    def _reason(self, job: Job, able: Sequence[Worker]) -> WaitReason:
        if job.not_before > self.now:
            return WaitReason.NOT_BEFORE
        limit = self.policy.max_running_per_owner
        if limit is not None and sum(row.owner == job.owner for row in self.running) >= limit:
            return WaitReason.QUOTA
        if not able:
            return WaitReason.NO_WORKER
        busy = Counter(row.lease_owner for row in self.running if self._shares_slots(row.kind, job.kind))
        free = any(busy[worker.name] < _num_slots(worker, job.kind) for worker in able)
        return WaitReason.STARTING if free else WaitReason.ACCELERATOR_BUSY

    def _start(
        self, job: Job, position: int, able: Sequence[Worker], reason: WaitReason, rank: int
    ) -> datetime | None:
        """Now, plus the work before it over the slots that can do it; rank 0: median, 1: 90th percentile."""
        slots = sum(_num_slots(worker, job.kind) for worker in able)
        if job.kind not in self.durations or not slots or reason is WaitReason.QUOTA:
            return None
        typical = self.durations[job.kind][rank]
        left = sum(
            max(0.0, self.durations.get(row.kind, (typical, typical))[rank] - float(row[3]))
            for row in self.running
            if self._shares_slots(row.kind, job.kind)
        )
        free = reason is WaitReason.STARTING
        wait = 0.0 if free and position == 1 else (left + (position - 1) * typical) / slots
        return max(self.now + timedelta(seconds=wait), job.not_before)

    def _shares_slots(self, kind: str, other: str) -> bool:
        has_light = any(worker.light_slots for worker in self.workers)
        return not has_light or (kind in LIGHT_KINDS) == (other in LIGHT_KINDS)


def _num_slots(worker: Worker, kind: str) -> int:
    return worker.light_slots if kind in LIGHT_KINDS and worker.light_slots else worker.slots


def _can_run(worker: Worker, job: Job) -> bool:
    if worker.kinds is not None and job.kind not in worker.kinds:
        return False
    if job.accelerator == "gpu" and worker.accelerator == "cpu":
        return False
    return job.min_memory_bytes is None or (worker.memory_bytes or 0) >= job.min_memory_bytes


def _positions(session: Session, jobs: Sequence[Job]) -> dict[str, int]:
    if len(jobs) <= _FEW:
        return {job.id: 1 + _count_ahead(session, job) for job in jobs}
    place = func.row_number().over(order_by=(Job.priority_rank.desc(), Job.created_at, Job.id))
    ranked = select(Job.id, place.label("position")).where(Job.status == JobStatus.QUEUED.value).subquery()
    wanted = [job.id for job in jobs]
    rows = session.execute(select(ranked.c.id, ranked.c.position).where(ranked.c.id.in_(wanted)))
    return {row.id: row.position for row in rows}


def _count_ahead(session: Session, job: Job) -> int:
    place = (-job.priority_rank, job.created_at, job.id)
    ahead = tuple_(-Job.priority_rank, Job.created_at, Job.id) < place
    statement = select(func.count()).select_from(Job).where(Job.status == JobStatus.QUEUED.value, ahead)
    return session.scalar(statement) or 0


def _durations(session: Session) -> dict[str, tuple[float, float]]:
    """Of the newest succeeded jobs of each kind."""
    seconds = func.extract("epoch", Job.finished_at - Job.started_at)
    number = func.row_number().over(partition_by=Job.kind, order_by=Job.finished_at.desc())
    ended = (
        select(Job.kind, seconds.label("seconds"), number.label("number"))
        .where(Job.status == JobStatus.SUCCEEDED.value, Job.finished_at > func.now() - timedelta(days=30))
        .subquery()
    )
    statement = (
        select(
            ended.c.kind,
            func.percentile_cont(0.5).within_group(ended.c.seconds),
            func.percentile_cont(0.9).within_group(ended.c.seconds),
        )
        .where(ended.c.number <= _HISTORY)
        .group_by(ended.c.kind)
    )
    return {kind: (float(p50), float(p90)) for kind, p50, p90 in session.execute(statement)}
