"""What the queue and the workers are doing, from their rows."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.errors import NotFound
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.jobs.queue_facts import QueuePolicy, WaitReason
from heimdall_core.jobs.waiting import recent_waits, waiting_groups


class WaitingDocument(BaseModel):
    """The queued jobs that wait for the same reason."""

    model_config = ConfigDict(from_attributes=True)

    reason: WaitReason
    num_jobs: int
    oldest_queued_at: datetime = Field(description="When the first of them began to wait.")


class RecentWaitDocument(BaseModel):
    """How long jobs of one kind waited that were submitted within a day and have started."""

    model_config = ConfigDict(from_attributes=True)

    kind: JobKind
    num_jobs: int
    p50_seconds: float = Field(description="Median, from submission to start.")
    p90_seconds: float


class QueueDocument(BaseModel):
    """How many jobs wait and run, why they wait, and how long jobs have waited of late."""

    queued: int
    running: int
    paused: int
    oldest_queued_at: datetime | None
    waiting: list[WaitingDocument] = Field(description="By reason, the most frequent first.")
    recent_waits: list[RecentWaitDocument] = Field(
        description="By kind, of the newest thousand jobs of the last day that have started."
    )


class WorkerDocument(BaseModel):
    """A host that runs jobs."""

    name: str
    host: str
    slots: int
    light_slots: int = Field(description="More slots, for imports, evaluations and exports.")
    kinds: list[JobKind] | None = Field(description="What it takes; null: everything.")
    accelerator: str
    memory_bytes: int | None = Field(description="Of one accelerator; of the host where there is none.")
    draining: bool = Field(description="It ends what it runs and takes no new job.")
    is_alive: bool = Field(description="Whether it has been heard of within the time of a lease.")
    running_job_ids: list[str]
    started_at: datetime
    last_seen_at: datetime


class WorkerList(BaseModel):
    """All workers, by name."""

    data: list[WorkerDocument]


def describe_queue(session: Session, policy: QueuePolicy) -> QueueDocument:
    """Counts the jobs that have not ended, and tells what the queue waits for."""
    waiting = (JobStatus.QUEUED.value, JobStatus.RUNNING.value, JobStatus.PAUSED.value)
    statement = select(Job.status, func.count(), func.min(Job.created_at)).where(Job.status.in_(waiting))
    rows = {
        status: (number, oldest) for status, number, oldest in session.execute(statement.group_by(Job.status))
    }
    queued, oldest_queued_at = rows.get(JobStatus.QUEUED.value, (0, None))
    return QueueDocument(
        queued=queued,
        running=rows.get(JobStatus.RUNNING.value, (0, None))[0],
        paused=rows.get(JobStatus.PAUSED.value, (0, None))[0],
        oldest_queued_at=oldest_queued_at,
        waiting=[WaitingDocument.model_validate(group) for group in waiting_groups(session, policy)],
        recent_waits=[RecentWaitDocument.model_validate(wait) for wait in recent_waits(session)],
    )


def describe_workers(session: Session, *, lease_seconds: float) -> WorkerList:
    """Every worker that has ever been seen, and what it runs."""
    running: dict[str, list[str]] = {}
    statement = select(Job.lease_owner, Job.id).where(Job.status == JobStatus.RUNNING.value).order_by(Job.id)
    for owner, job_id in session.execute(statement):
        running.setdefault(str(owner), []).append(job_id)
    silence = func.extract("epoch", func.now() - Worker.last_seen_at)
    rows = session.execute(select(Worker, silence < lease_seconds).order_by(Worker.name))
    return WorkerList(
        data=[
            WorkerDocument(
                name=worker.name,
                host=worker.host,
                slots=worker.slots,
                light_slots=worker.light_slots,
                kinds=None if worker.kinds is None else [JobKind(kind) for kind in worker.kinds],
                accelerator=worker.accelerator,
                memory_bytes=worker.memory_bytes,
                draining=worker.draining_at is not None,
                is_alive=is_alive,
                running_job_ids=running.get(worker.name, []),
                started_at=worker.started_at,
                last_seen_at=worker.last_seen_at,
            )
            for worker, is_alive in rows
        ]
    )


def set_draining(session: Session, name: str, *, draining: bool) -> None:
    """Keeps a worker from new jobs, or lets it take them again. Repeating it changes nothing.

    Raises:
        NotFound: no worker of this name was ever seen.
    """
    since = func.coalesce(Worker.draining_at, func.now()) if draining else None
    statement = update(Worker).where(Worker.name == name).values(draining_at=since)
    if session.execute(statement.returning(Worker.name)).first() is None:
        raise NotFound(f"no worker {name!r}", code="worker_not_found", hint="GET /v1/workers lists them")
