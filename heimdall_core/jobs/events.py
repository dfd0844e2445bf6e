"""A job's history."""

from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, JobEvent


def record_event(session: Session, job: Job, name: str, **data: Any) -> None:
    """Appends to the history in the caller's transaction."""
    session.add(JobEvent(job_id=job.id, attempt=job.attempt or None, name=name, data=data))
