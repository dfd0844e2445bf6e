"""Reading jobs: rows, pages and the wire form."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, defer

from heimdall_core.database.job_tables import (
    Artifact,
    Checkpoint,
    Job,
    JobAttempt,
)
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import NotFound
from heimdall_core.domain.job import JobStatus
from heimdall_core.domain.tracing import read_trace
from heimdall_core.jobs.abridgement import abridge
from heimdall_core.jobs.queue_facts import DEFAULT_POLICY, QueueFacts, QueuePolicy, queue_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs to list; ``owner`` None means everybody's."""

    owner: str | None = None
    statuses: Sequence[str] = ()
    kinds: Sequence[str] = ()
    model: str | None = None
    dataset: tuple[str, int | None] | None = None
    """Name and version; a version of None: any."""
    tag: tuple[str, str | None] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    created_by: str | None = None
    ids: Sequence[str] | None = None


def find_job(session: Session, job_id: str, *, owner: str | None, for_update: bool = False) -> Job:
    """The job, if this owner may see it; with ``for_update`` nobody changes it until the transaction ends.

    Raises:
        NotFound: no such job, or another owner's.
    """
    job = session.get(Job, job_id, options=[defer(Job.inputs)], with_for_update=for_update or None)
    if job is None or (owner is not None and job.owner != owner):
        raise NotFound(f"no job {job_id!r}", code="job_not_found", hint="GET /v1/jobs lists yours")
    return job


def list_jobs(session: Session, job_filter: JobFilter, *, cursor: str | None, limit: int) -> Page[Job]:
    """Newest first."""
    statement = _filtered(select(Job).options(defer(Job.inputs)), job_filter).order_by(
        Job.created_at.desc(), Job.id.desc()
    )
    if cursor:
        statement = statement.where(tuple_(Job.created_at, Job.id) < decode_cursor(cursor))
    jobs = session.scalars(statement.limit(limit + 1)).all()
    more = len(jobs) > limit
    jobs = jobs[:limit]
    return Page(items=jobs, next_cursor=encode_cursor(jobs[-1].created_at, jobs[-1].id) if more else None)


def _filtered(statement: Select[Job], wanted: JobFilter) -> Select[Job]:
    if wanted.owner is not None:
        statement = statement.where(Job.owner == wanted.owner)
    if wanted.statuses:
        statement = statement.where(Job.status.in_(wanted.statuses))
    if wanted.kinds:
        statement = statement.where(Job.kind.in_(wanted.kinds))
    if wanted.created_after is not None:
        statement = statement.where(Job.created_at > wanted.created_after)
    if wanted.created_before is not None:
        statement = statement.where(Job.created_at < wanted.created_before)
    if wanted.created_by is not None:
        statement = statement.where(Job.owner == wanted.created_by)
    if wanted.ids is not None:
        statement = statement.where(Job.id.in_(wanted.ids))
    return _of_subject(statement, wanted)


def _of_subject(statement: Select[Job], wanted: JobFilter) -> Select[Job]:
    """By what the jobs are about."""
    if wanted.model is not None:
        statement = statement.where(Job.spec["model"]["name"].astext == wanted.model)
    if wanted.dataset is not None:
        name, version = wanted.dataset
        named = {"name": name} if version is None else {"name": name, "version": version}
        statement = statement.where(Job.spec["dataset"].contains(named))
    if wanted.tag is not None:
        key, value = wanted.tag
        tags = Job.tags.has_key(key) if value is None else Job.tags.contains({key: value})
        statement = statement.where(tags)
    return statement


def job_document(session: Session, job: Job, policy: QueuePolicy = DEFAULT_POLICY) -> dict[str, Any]:
    """The wire form of a job."""
    return job_documents(session, [job], policy)[0]


def job_documents(
    session: Session, jobs: Sequence[Job], policy: QueuePolicy = DEFAULT_POLICY, *, is_brief: bool = False
) -> list[dict[str, Any]]:
    """The wire forms of several jobs, or brief ones; the state of the queue is read once."""
    facts = queue_facts(session, [job for job in jobs if job.status == JobStatus.QUEUED], policy)
    if is_brief:
        return [abridge(_document(job, facts.get(job.id), [])) for job in jobs]
    attempts = _attempts_of(session, [job.id for job in jobs])
    return [_document(job, facts.get(job.id), attempts.get(job.id, [])) for job in jobs]


def new_job_document(job: Job, queue: QueueFacts) -> dict[str, Any]:
    """The wire form of a job that was queued in this transaction."""
    return _document(job, queue, [])


def _document(job: Job, queue: QueueFacts | None, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "is_terminal": JobStatus(job.status).is_terminal,
        "phase": job.phase,
        "spec": job.spec,
        "priority": job.priority,
        "tags": job.tags,
        "created_by": job.owner,
        "created_at": wire_time(job.created_at),
        "started_at": wire_time(job.started_at),
        "finished_at": wire_time(job.finished_at),
        "cancel_requested_at": wire_time(job.cancel_requested_at),
        "pause_requested_at": wire_time(job.pause_requested_at),
        "finish_requested_at": wire_time(job.finish_requested_at),
        "queue": None if queue is None else _queue_document(queue),
        "progress": job.progress,
        "metrics": job.metrics,
        "attempt": job.attempt,
        "attempts": attempts,
        "error": job.error,
        "result": job.result,
        "parent_job_id": job.parent_job_id,
        "trace_id": _trace_id(job),
        "links": _links(job),
    }


def _queue_document(queue: QueueFacts) -> dict[str, Any]:
    return {
        "position": queue.position,
        "reason": queue.reason,
        "estimated_start_at": wire_time(queue.estimated_start_at),
        "estimated_start_p90_at": wire_time(queue.estimated_start_p90_at),
    }


def _trace_id(job: Job) -> str | None:
    trace = read_trace(job.traceparent)
    return None if trace is None else trace.trace_id


PARTS = ("events", "metrics", "logs", "artifacts", "checkpoints", "attempts", "lineage")


def _links(job: Job) -> dict[str, str]:
    here = f"/v1/jobs/{job.id}"
    return {"self": here} | {part: f"{here}/{part}" for part in PARTS}


def list_attempts(session: Session, job_id: str) -> list[dict[str, Any]]:
    """Every try at the job, oldest first."""
    return _attempts_of(session, [job_id]).get(job_id, [])


def _attempts_of(session: Session, job_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every try at each of the jobs, oldest first; one statement for a whole page."""
    wanted = JobAttempt.job_id.in_(job_ids)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in session.scalars(select(JobAttempt).where(wanted).order_by(JobAttempt.number)):
        found.setdefault(row.job_id, []).append(_attempt_document(row))
    return found


def _attempt_document(row: JobAttempt) -> dict[str, Any]:
    return {
        "number": row.number,
        "worker": row.worker,
        "trainer_pid": row.trainer_pid,
        "started_at": wire_time(row.started_at),
        "ended_at": wire_time(row.ended_at),
        "outcome": row.outcome,
        "exit_code": row.exit_code,
        "error": row.error,
        "peak_host_bytes": row.peak_host_bytes,
        "peak_accelerator_bytes": row.peak_accelerator_bytes,
        "seconds_per_epoch": row.seconds_per_epoch,
    }


def list_artifacts(session: Session, job_id: str) -> list[Artifact]:
    """The files that the job handed out, by name."""
    statement = select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name)
    return list(session.scalars(statement))


def find_artifact(session: Session, job_id: str, name: str) -> Artifact:
    """One of the files that the job handed out.

    Raises:
        NotFound: it handed out none of that name.
    """
    where = (Artifact.job_id == job_id, Artifact.name == name)
    found = session.scalars(select(Artifact).where(*where).order_by(Artifact.attempt.desc())).first()
    if found is None:
        raise NotFound(
            f"job {job_id} has no file {name!r}",
            code="artifact_not_found",
            hint=f"GET /v1/jobs/{job_id}/artifacts lists them; a job hands them out when it has succeeded.",
        )
    return found


def list_checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """The durable checkpoints of every attempt, the one that got furthest first."""
    return list(session.scalars(_checkpoints(job_id)))


def newest_checkpoint(session: Session, job_id: str, *, at_epoch_end: bool = False) -> Checkpoint | None:
    """The durable checkpoint that got furthest; with ``at_epoch_end`` of those between two epochs."""
    statement = _checkpoints(job_id).limit(1)
    return session.scalar(statement.where(Checkpoint.at_epoch_end) if at_epoch_end else statement)


def _checkpoints(job_id: str) -> Select[Checkpoint]:
    return (
        select(Checkpoint)
        .where(Checkpoint.job_id == job_id, Checkpoint.retired_at.is_(None))
        .order_by(Checkpoint.step.desc(), Checkpoint.created_at.desc())
    )


def wire_time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
