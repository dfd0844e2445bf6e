"""Where a queued job stands: its position, why it waits, and when it may start as jobs went before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import (
    ARRAY,
    Double,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.jobs.capacity import LIGHT_KINDS, can_run, devices_of, num_devices
from heimdall_core.jobs.positions import Queue

_HISTORY = 50
"""Succeeded jobs that tell how long the next ones take."""


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
    """1: the next of those that wait for the same slots, in the order of the claim."""
    reason: WaitReason
    estimated_start_at: datetime | None
    """Median; None: no worker, or no history."""
    estimated_start_p90_at: datetime | None


def queue_facts(session: Session, jobs: Sequence[Job], policy: QueuePolicy) -> dict[str, QueueFacts]:
    """The facts of queued jobs by id; nothing is read if there is none."""
    if not jobs:
        return {}
    fleet = _Fleet.read(session, policy)
    queue = Queue.read(session, jobs, fleet.is_light)
    running = fleet.num_running()
    outlooks: dict[_Needs, _Outlook] = {}
    facts = {}
    for job in jobs:
        if (needs := _Needs.of(job)) not in outlooks:
            outlooks[needs] = fleet.outlook(job)
        outlook = outlooks[needs]
        position = queue.position(job, running if outlook.has_turns else None)
        facts[job.id] = fleet.facts(job, position, outlook)
    return facts


class RecentQueue:
    """Where a job stands that has just joined the queue, without reading the queue for each.

    The queue is as it was ``max_age_seconds`` ago at most, and with what this process has added since.
    """

    def __init__(self, policy: QueuePolicy, *, max_age_seconds: float = 1.0) -> None:
        self._policy, self._max_age_seconds = policy, max_age_seconds
        self._lock = Lock()
        self._view: _View | None = None
        self._read_at = -inf

    def facts_of_newest(self, session: Session, job: Job) -> QueueFacts:
        """Of a job that no other of its priority is younger than."""
        with self._lock:
            if self._view is None or self._is_old():
                return self._read_with(session, job)
            return _facts_of_newest(self._view, job)

    def look(self, session: Session) -> None:
        """Reads the queue, if it is due: before jobs are written that ``facts_of_added`` is asked about."""
        with self._lock:
            if self._view is None or self._is_old():
                fleet = _Fleet.read(session, self._policy)
                self._keep(_View(fleet=fleet, queue=Queue.read(session, (), fleet.is_light), outlooks={}))

    def facts_of_added(self, job: Job) -> QueueFacts:
        """Of the newest job of its priority; it was written after the ``look`` and is not committed yet."""
        with self._lock:
            assert self._view is not None, "look comes before"
            return _facts_of_newest(self._view, job)

    def _is_old(self) -> bool:
        return monotonic() - self._read_at > self._max_age_seconds

    def _keep(self, view: "_View") -> None:
        self._view, self._read_at = view, monotonic()

    def _read_with(self, session: Session, job: Job) -> QueueFacts:
        fleet = _Fleet.read(session, self._policy)
        queue, outlook = Queue.read(session, [job], fleet.is_light), fleet.outlook(job)
        self._keep(_View(fleet=fleet, queue=queue, outlooks={_Needs.of(job): outlook}))
        return fleet.facts(
            job, queue.position(job, fleet.num_running() if outlook.has_turns else None), outlook
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The queue and its workers at one moment."""

    fleet: "_Fleet"
    queue: Queue
    outlooks: "dict[_Needs, _Outlook]"


def _facts_of_newest(view: _View, job: Job) -> QueueFacts:
    """Of a job that was not read; it is counted from now on."""
    needs = _Needs.of(job)
    outlook = view.outlooks.get(needs) or view.outlooks.setdefault(needs, view.fleet.outlook(job))
    running = view.fleet.num_running() if outlook.has_turns else None
    position = view.queue.position_of_newest(job, running)
    view.queue.add_newest(job)
    return view.fleet.facts(job, position, outlook)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What of a job decides which workers can run it."""

    kind: str
    accelerator: str
    min_memory_bytes: int | None

    devices: int

    @staticmethod
    def of(job: Job) -> "_Needs":
        return _Needs(job.kind, job.accelerator, job.min_memory_bytes, devices_of(job.spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What all jobs with the same needs can expect."""

    has_worker: bool
    has_free_slot: bool
    has_turns: bool
    """Whether other jobs can run when one is claimed, so that it matters whose they are."""
    num_slots: int
    waits: Sequence[tuple[float, float]]
    """Median and 90th percentile of: seconds left of what runs, seconds of each job. Empty: no history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """Jobs of one kind and owner on one worker."""

    kind: str
    owner: str
    worker: str | None
    seconds: Sequence[float]
    """Of each so far."""
    devices: int
    """Slots that they take together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fleet:
    """Workers, running jobs and history at one moment."""

    now: datetime
    policy: QueuePolicy
    workers: Sequence[Worker]
    running: Sequence[_Running]
    durations: Mapping[str, tuple[float, float]]
    """Median and 90th percentile of the seconds that a kind takes."""

    @staticmethod
    def read(session: Session, policy: QueuePolicy) -> "_Fleet":
        alive = Worker.last_seen_at > func.now() - timedelta(seconds=policy.worker_alive_seconds)
        now, durations = _history(session)
        return _Fleet(
            now=now,
            policy=policy,
            workers=session.scalars(select(Worker).where(alive, Worker.draining_at.is_(None))).all(),
            running=_running(session),
            durations=durations,
        )

    def is_light(self, kind: str) -> bool:
        """Whether it waits for the slots of light kinds, which not every fleet has."""
        return kind in LIGHT_KINDS and any(worker.light_slots for worker in self.workers)

    def num_running(self) -> Counter[str]:
        """By owner."""
        counts: Counter[str] = Counter()
        for group in self.running:
            counts[group.owner] += len(group.seconds)
        return counts

    def outlook(self, job: Job) -> _Outlook:
        able = [worker for worker in self.workers if can_run(worker, job)]
        rivals = [group for group in self.running if self.is_light(group.kind) == self.is_light(job.kind)]
        busy: Counter[str | None] = Counter()
        for group in rivals:
            busy[group.worker] += group.devices
        free = (_num_slots(worker, job.kind) - busy[worker.name] for worker in able)
        return _Outlook(
            has_worker=bool(able),
            has_free_slot=any(count >= devices_of(job.spec) for count in free),
            has_turns=sum(_num_slots(worker, job.kind) for worker in self.workers) > 1,
            num_slots=sum(_num_slots(worker, job.kind) for worker in able),
            waits=self._waits(job.kind, rivals),
        )

    def _waits(self, kind: str, rivals: Sequence[_Running]) -> Sequence[tuple[float, float]]:
        typical = self.durations.get(kind)
        if typical is None:
            return ()
        left = [
            sum(
                max(0.0, self.durations.get(group.kind, typical)[rank] - s)
                for group in rivals
                for s in group.seconds
            )
            for rank in (0, 1)
        ]
        return list(zip(left, typical, strict=True))

    def facts(self, job: Job, position: int, outlook: _Outlook) -> QueueFacts:
        reason = self._reason(job, outlook)
        p50, p90 = self._starts(job, position, outlook, reason)
        return QueueFacts(
            position=position, reason=reason, estimated_start_at=p50, estimated_start_p90_at=p90
        )

    def _reason(self, job: Job, outlook: _Outlook) -> WaitReason:
        if job.not_before > self.now:
            return WaitReason.NOT_BEFORE
        limit = self.policy.max_running_per_owner
        if limit is not None and self.num_running()[job.owner] >= limit:
            return WaitReason.QUOTA
        if not outlook.has_worker:
            return WaitReason.NO_WORKER
        return WaitReason.STARTING if outlook.has_free_slot else WaitReason.ACCELERATOR_BUSY

    def _starts(
        self, job: Job, position: int, outlook: _Outlook, reason: WaitReason
    ) -> tuple[datetime | None, datetime | None]:
        """Now, plus the work before it over the slots that can do it: median and 90th percentile."""
        if not outlook.waits or not outlook.num_slots or reason is WaitReason.QUOTA:
            return None, None
        starts_now = reason is WaitReason.STARTING and position == 1
        p50, p90 = (
            self.now
            if starts_now
            else self.now + timedelta(seconds=(left + (position - 1) * each) / outlook.num_slots)
            for left, each in outlook.waits
        )
        return max(p50, job.not_before), max(p90, job.not_before)


def _num_slots(worker: Worker, kind: str) -> int:
    return worker.light_slots if kind in LIGHT_KINDS and worker.light_slots else worker.slots


def _running(session: Session) -> list[_Running]:
    return [
        _Running(kind=kind, owner=owner, worker=worker, seconds=seconds, devices=devices)
        for kind, owner, worker, seconds, devices in session.execute(_select_running())
    ]


@cache
def _select_running() -> Select[Any]:
    seconds = cast(func.extract("epoch", func.now() - func.coalesce(Job.started_at, func.now())), Double)
    group = (Job.kind, Job.owner, Job.lease_owner)
    columns: tuple[Any, ...] = (*group, func.array_agg(seconds), func.sum(num_devices()))
    return select(*columns).where(Job.status == JobStatus.RUNNING.value).group_by(*group)


def _history(session: Session) -> tuple[datetime, dict[str, tuple[float, float]]]:
    """The present, and of each kind with succeeded jobs the median and 90th percentile of their seconds."""
    rows = session.execute(_select_history()).all()
    return rows[0].now, {row.kind: (row.p50, row.p90) for row in rows if row.p50 is not None}


@cache
def _select_history() -> Select[Any]:
    """One row for each kind; one look into the index for each."""
    names = literal([kind.value for kind in JobKind], ARRAY(Text))
    kinds = func.unnest(names).table_valued(column("kind", Text)).render_derived("kinds")
    newest = union_all(*map(_select_newest_seconds, JobKind)).subquery("newest")
    p50, p90 = (func.percentile_cont(q).within_group(newest.c.seconds) for q in (0.5, 0.9))
    columns = (kinds.c.kind, func.now().label("now"), p50.label("p50"), p90.label("p90"))
    is_its = newest.c.kind == kinds.c.kind
    return select(*columns).select_from(kinds).outerjoin(newest, is_its).group_by(kinds.c.kind)


def _select_newest_seconds(kind: JobKind) -> Select[Any]:
    """The kind is a literal: planned for any, a rare one is looked for among all jobs that have ended."""
    name = literal_column(f"'{kind.value}'", Text)
    seconds = cast(func.extract("epoch", Job.finished_at - Job.started_at), Double)
    succeeded = Job.status == literal_column(f"'{JobStatus.SUCCEEDED.value}'")
    newest = (
        select(name.label("kind"), seconds.label("seconds"))
        .where(succeeded, Job.kind == name, Job.finished_at > func.now() - timedelta(days=30))
        .order_by(Job.finished_at.desc())
        .limit(_HISTORY)
    )
    return select(newest.subquery())
