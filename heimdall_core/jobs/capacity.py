"""How many devices a job wants, how many a worker has, and which worker saves up for a large job."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.job import JobKind, JobStatus

#: Kinds that need no accelerator.
LIGHT_KINDS: tuple[JobKind, ...] = (JobKind.IMPORT, JobKind.EVALUATE, JobKind.EXPORT)


def num_devices() -> ColumnElement[int]:
    """In SQL: the slots that a job takes at once."""
    return func.coalesce(Job.spec["resources"]["devices"].as_integer(), 1)


def devices_of(spec: Mapping[str, Any]) -> int:
    """The slots that a job of this specification takes at once."""
    return int((spec.get("resources") or {}).get("devices", 1))


def capacity_of(worker: Worker, kind: str) -> int:
    """The most devices that one job of a kind can have there: no two ranks share a GPU."""
    if kind in LIGHT_KINDS and worker.light_slots:
        return 1
    count, _, unit = worker.accelerator.partition(" ")
    return min(worker.slots, int(count)) if unit == "gpu" else worker.slots


def can_run(worker: Worker, job: Job) -> bool:
    """Whether the job fits the worker when nothing else runs there."""
    if worker.kinds is not None and job.kind not in worker.kinds:
        return False
    if job.accelerator == "gpu" and worker.accelerator == "cpu":
        return False
    if devices_of(job.spec) > capacity_of(worker, job.kind):
        return False
    return job.min_memory_bytes is None or (worker.memory_bytes or 0) >= job.min_memory_bytes


def saves_up(session: Session, worker: str, job_id: str, *, alive_seconds: float) -> bool:
    """Whether this worker keeps its free slots for a job that wants more than it has free.

    Of the workers that can run the job, the one that lacks the fewest slots does, by name where they are
    equal. It takes nothing that comes after the job, so what it lacks only shrinks, and the job starts once
    the trainings ahead of it have ended; all other workers go on with smaller jobs.
    """
    job = session.get_one(Job, job_id)
    alive = Worker.last_seen_at > func.now() - timedelta(seconds=alive_seconds)
    fleet = session.scalars(select(Worker).where(alive, Worker.draining_at.is_(None))).all()
    able = [candidate for candidate in fleet if can_run(candidate, job)]
    busy = _busy_devices(session, able)
    lacking = {w.name: busy[w.name] - capacity_of(w, job.kind) for w in able}
    return bool(able) and min(lacking, key=lambda name: (lacking[name], name)) == worker


def _busy_devices(session: Session, workers: Iterable[Worker]) -> Counter[str]:
    has_light_slots = {worker.name for worker in workers if worker.light_slots}
    statement = select(Job.lease_owner, Job.kind, num_devices()).where(Job.status == JobStatus.RUNNING.value)
    busy: Counter[str] = Counter()
    for worker, kind, devices in session.execute(statement):
        if worker is not None and (kind not in LIGHT_KINDS or worker not in has_light_slots):
            busy[worker] += devices
    return busy
