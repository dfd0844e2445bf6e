"""How running jobs go, as one statement reads it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGlimpse:
    """What a running job has last reported."""

    id: str
    kind: str
    owner: str
    model: str | None
    attempt: int
    revision: int
    """Another one: something has changed, be it only the log."""
    at: datetime
    phase: str | None
    progress: dict[str, Any] | None
    metrics: dict[str, Any]


def glimpse_running(reader: Session | Connection, job_ids: Collection[str] | None) -> list[JobGlimpse]:
    """The running jobs among these; None: all that run."""
    statement = select(
        Job.id,
        Job.kind,
        Job.owner,
        Job.spec["model"]["name"].astext.label("model"),
        Job.attempt,
        Job.revision,
        Job.updated_at.label("at"),
        Job.phase,
        Job.progress,
        Job.metrics,
    ).where(Job.status == JobStatus.RUNNING.value)
    if job_ids is not None:
        statement = statement.where(Job.id.in_(job_ids))
    return [JobGlimpse(**row) for row in reader.execute(statement).mappings()]
