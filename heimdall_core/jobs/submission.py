"""T1: a request becomes a row."""

from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.spec import JobSpec, TrainJobSpec, spec_to_dict
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.resolution import resolve
from heimdall_core.jobs.support import (
    refuse_bad_name,
    refuse_bad_start,
    refuse_naive_time,
    refuse_unsupported,
)


def submit_job(session: Session, spec: JobSpec, *, owner: str, sees_all: bool = False) -> Job:
    """Queues a job; commit, then hint.

    Args:
        session: the transaction of the request.
        spec: what is asked for.
        owner: whose job it becomes.
        sees_all: whether it may refer to other owners' jobs and uploads too.

    Raises:
        NotFound: something that the spec refers to does not exist.
        Conflict: it cannot serve, e.g. an upload that is not complete.
        InvalidRequest: the model's name cannot stand in a path, or the spec contradicts itself.
        NotSupportedYet: the spec asks for what this version does not build.
    """
    refuse_bad_name(spec)
    refuse_naive_time(spec)
    refuse_unsupported(spec)
    refuse_bad_start(spec)
    spec, inputs = resolve(session, spec, owner=None if sees_all else owner)
    job = new_job(spec, inputs, owner=owner)
    return enqueue(session, job)


def new_job(spec: JobSpec, inputs: dict[str, Any], *, owner: str) -> Job:
    """The row of an accepted spec, not yet in the database."""
    resources = spec.resources if isinstance(spec, TrainJobSpec) else None
    gigabytes = resources.min_memory_gb if resources else None
    return Job(
        id=new_id("job"),
        kind=spec.kind,
        owner=owner,
        status="queued",
        spec=spec_to_dict(spec),
        inputs=inputs,
        tags=dict(spec.tags),
        priority=spec.priority.value,
        priority_rank=spec.priority.rank,
        accelerator=resources.accelerator if resources else "cpu",
        min_memory_bytes=None if gigabytes is None else round(gigabytes * 1e9),
        max_attempts=spec.limits.max_attempts,
        max_pending_seconds=spec.limits.max_pending_seconds,
        max_runtime_seconds=spec.limits.max_runtime_seconds,
        parent_job_id=inputs.get("train_job_id"),
        **({"not_before": spec.not_before} if spec.not_before else {}),
    )


def enqueue(session: Session, job: Job) -> Job:
    """Writes the row and its first event; commit, then hint."""
    session.add(job)
    session.flush()
    session.refresh(job)
    record_event(session, job, "job.queued")
    return job
