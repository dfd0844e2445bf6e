"""A job's own history, as tests look at it."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import JobEvent


def list_events(session: Session, job_id: str, *, limit: int = 100) -> list[dict[str, Any]]:
    """Its events, oldest first."""
    statement = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id).limit(limit)
    return [
        {"id": row.id, "event": row.name, "attempt": row.attempt, "data": row.data}
        for row in session.scalars(statement)
    ]
