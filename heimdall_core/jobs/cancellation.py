"""T7: a request to cancel."""

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.queries import find_job


def cancel_job(session: Session, job_id: str, *, owner: str | None) -> Job:
    """Cancels a queued or paused job at once; asks a running one to stop. Repeating it changes nothing.

    Raises:
        NotFound: no such job, or another owner's.
        Conflict: the job has already succeeded or failed.
    """
    job = find_job(session, job_id, owner=owner)
    if _cancel_waiting(session, job_id) or _flag_running(session, job_id):
        session.refresh(job)
        record_event(session, job, "job.cancelled" if job.status == "cancelled" else "job.cancel_requested")
        return job
    session.refresh(job)
    if job.status in {"succeeded", "failed"}:
        raise Conflict(f"the job has already {job.status}", code="job_already_ended")
    return job


def _cancel_waiting(session: Session, job_id: str) -> bool:
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.status.in_(["queued", "paused"]))
        .values(
            status="cancelled",
            finished_at=func.now(),
            cancel_requested_at=func.now(),
            updated_at=func.now(),
            revision=Job.revision + 1,
        )
    )
    return session.execute(statement.returning(Job.id)).first() is not None


def _flag_running(session: Session, job_id: str) -> bool:
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.status == "running", Job.cancel_requested_at.is_(None))
        .values(cancel_requested_at=func.now(), updated_at=func.now(), revision=Job.revision + 1)
    )
    return session.execute(statement.returning(Job.id)).first() is not None
