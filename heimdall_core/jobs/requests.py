"""T7 and T8: what callers ask of a job: cancel, pause, finish, resume. Each is one guarded statement.

And what they change of it while it is what it is: priority and tags.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict, FieldProblem, InvalidRequest, PreconditionFailed
from heimdall_core.domain.job import JobKind, JobStatus, Priority
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.queries import find_job

_WAITING = (JobStatus.QUEUED.value, JobStatus.PAUSED.value)
MAX_TAGS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChange:
    """What of a job shall be otherwise."""

    priority: Priority | None = None
    """None: as it is."""
    tags: Mapping[str, str | None] | None = None
    """Merged into those that there are (RFC 7396): None takes a tag away."""


def change_job(
    session: Session,
    job_id: str,
    change: JobChange,
    *,
    owner: str | None,
    revisions: Collection[int] | None = None,
) -> Job:
    """Changes priority and tags; what is so already makes no new revision.

    Args:
        session: the transaction, which holds the row from here on.
        job_id: whose.
        change: what.
        owner: whose jobs may be changed; None: everybody's.
        revisions: the row must be at one of these; None: whatever it is.

    Raises:
        NotFound: no such job, or another owner's.
        PreconditionFailed: the row is at another revision.
        Conflict: a job that has ended has no priority to change.
        InvalidRequest: there is nothing to change, or there would be too many tags.
    """
    job = find_job(session, job_id, owner=owner, for_update=True)
    if revisions is not None and job.revision not in revisions:
        raise PreconditionFailed(
            "the job has changed since it was read",
            hint="GET it again, and repeat the request with its new ETag; or leave If-Match out: tags merge.",
        )
    values = _changed_values(job, change)
    if values and _change(session, job, **values):
        told = {name: values[name] for name in ("priority", "tags") if name in values}
        record_event(session, job, "job.changed", **told)
    return job


def _changed_values(job: Job, change: JobChange) -> dict[str, Any]:
    if change.priority is None and change.tags is None:
        raise InvalidRequest("there is nothing to change", hint='Send "priority", "tags" or both.')
    values: dict[str, Any] = {}
    if change.priority is not None and change.priority != job.priority:
        if JobStatus(job.status).is_terminal:
            raise Conflict(
                f"the job has already {job.status}; only its tags can change", code="job_already_ended"
            )
        values |= {"priority": change.priority.value, "priority_rank": change.priority.rank}
    tags = _merged(job.tags, change.tags or {})
    return values | ({"tags": tags} if tags != job.tags else {})


def _merged(tags: Mapping[str, Any], change: Mapping[str, str | None]) -> dict[str, Any]:
    merged = {key: value for key, value in {**tags, **change}.items() if value is not None}
    if len(merged) > MAX_TAGS:
        detail = f"a job has at most {MAX_TAGS} tags; these would be {len(merged)}: take some away with null"
        problem = FieldProblem(pointer="/tags", detail=detail)
        raise InvalidRequest("these are too many tags", problems=(problem,))
    return merged


def cancel_job(session: Session, job_id: str, *, owner: str | None) -> Job:
    """Cancels a queued or paused job at once; asks a running one to stop. Repeating it changes nothing.

    Raises:
        NotFound: no such job, or another owner's.
        Conflict: the job has already succeeded or failed.
    """
    job = find_job(session, job_id, owner=owner)
    ended = {
        "status": JobStatus.CANCELLED.value,
        "finished_at": func.now(),
        "cancel_requested_at": func.now(),
    }
    while not JobStatus(job.status).is_terminal and job.cancel_requested_at is None:
        # Again if the job was taken, or given back, between the two statements.
        if _change(session, job, Job.status.in_(_WAITING), **ended):
            record_event(session, job, "job.cancelled")
        elif _flag(session, job, Job.cancel_requested_at):
            record_event(session, job, "job.cancel_requested")
    if job.status in {JobStatus.SUCCEEDED, JobStatus.FAILED}:
        raise Conflict(f"the job has already {job.status}", code="job_already_ended")
    return job


def pause_job(session: Session, job_id: str, *, owner: str | None) -> Job:
    """Asks a running job to checkpoint and release its slot. Repeating it changes nothing.

    Raises:
        NotFound: no such job, or another owner's.
        Conflict: it is not running, or is being cancelled or finished.
    """
    job = find_job(session, job_id, owner=owner)
    others = Job.cancel_requested_at.is_(None) & Job.finish_requested_at.is_(None)
    if _flag(session, job, Job.pause_requested_at, others):
        record_event(session, job, "job.pause_requested")
    elif job.status != JobStatus.PAUSED and job.pause_requested_at is None:
        hint = "`:cancel` ends it." if job.status == JobStatus.QUEUED else None
        raise _not_now(job, "only a running job can be paused", hint)
    return job


def finish_job(session: Session, job_id: str, *, owner: str | None) -> Job:
    """Asks a running training to stop now, and to evaluate, export and register its best epoch.

    Raises:
        NotFound: no such job, or another owner's.
        Conflict: it is no training, is not running, or is being cancelled or paused.
    """
    job = find_job(session, job_id, owner=owner)
    if job.kind != JobKind.TRAIN:
        raise _not_now(job, "only a training can be finished early", "`:cancel` ends it.")
    others = Job.cancel_requested_at.is_(None) & Job.pause_requested_at.is_(None)
    if _flag(session, job, Job.finish_requested_at, others):
        record_event(session, job, "job.finish_requested")
    elif job.finish_requested_at is None:
        hint = "Resume it first." if job.status == JobStatus.PAUSED else None
        raise _not_now(job, "only a running training can be finished early", hint)
    return job


def resume_job(session: Session, job_id: str, *, owner: str | None) -> Job:
    """Paused -> queued: the same job goes on from its newest durable checkpoint. Repeating changes nothing.

    Raises:
        NotFound: no such job, or another owner's.
        Conflict: the job has ended, or is still being paused.
    """
    job = find_job(session, job_id, owner=owner)
    queued = {
        "status": JobStatus.QUEUED.value,
        "queued_at": func.now(),
        "not_before": func.now(),
        "dispatched_at": None,
    }
    if _change(session, job, Job.status == JobStatus.PAUSED.value, **queued):
        record_event(session, job, "job.resumed")
    elif job.status not in {JobStatus.QUEUED, JobStatus.RUNNING} or job.pause_requested_at is not None:
        hint = "POST :retry makes a new job of the same specification."
        if job.status == JobStatus.RUNNING:
            hint = "Wait until its status is paused."
        raise _not_now(job, "only a paused job can be resumed", hint)
    return job


def _flag(
    session: Session, job: Job, flag: InstrumentedAttribute[Any], *conditions: ColumnElement[bool]
) -> bool:
    """Sets a request's time on a running job that does not have it yet."""
    running = Job.status == JobStatus.RUNNING.value
    return _change(session, job, running, flag.is_(None), *conditions, **{flag.key: func.now()})


def _change(session: Session, job: Job, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """The guarded statement; the job is as the database has it afterwards."""
    statement = (
        update(Job)
        .where(Job.id == job.id, *conditions)
        .values(**values, updated_at=func.now(), revision=Job.revision + 1)
    )
    changed = session.execute(statement.returning(Job.id), execution_options={"synchronize_session": False})
    is_changed = changed.first() is not None
    session.refresh(job)
    return is_changed


def _not_now(job: Job, message: str, hint: str | None) -> Conflict:
    what = f"{message}: this {job.kind} job is {job.status}"
    pending = ("cancel", "pause", "finish")
    if asked := [name for name in pending if getattr(job, f"{name}_requested_at") is not None]:
        what += f" and asked to {asked[0]}"
    return Conflict(what, code="job_not_in_state", hint=hint)
