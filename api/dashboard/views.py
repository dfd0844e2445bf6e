"""What the jobs pages show, read from rows."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.accounts.principal import Principal
from heimdall_core.database.job_tables import Job, JobEvent, LogChunk
from heimdall_core.domain.job import JobStatus
from heimdall_core.jobs.queries import JobFilter, find_job, list_artifacts, list_attempts, list_jobs

NUM_JOBS = 50
NUM_EVENTS = 30
LOG_CHUNKS = 20
LOG_CHARS = 8000

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def view_jobs(session: Session, viewer: Principal) -> dict[str, Any]:
    """The newest jobs that the viewer may see."""
    page = list_jobs(session, JobFilter(owner=viewer.visible_owner), cursor=None, limit=NUM_JOBS)
    return {"jobs": [_row(job) for job in page.items], "viewer": viewer, "is_live": True}


def view_job(session: Session, viewer: Principal, job_id: str) -> dict[str, Any]:
    """One job, the newest of its history first.

    Raises:
        NotFound: no such job, or another owner's.
    """
    job = find_job(session, job_id, owner=viewer.visible_owner)
    events = session.scalars(
        select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id.desc()).limit(NUM_EVENTS)
    ).all()
    return {
        "job": _row(job),
        "error": job.error,
        "metrics": sorted(job.metrics.items()),
        "attempts": list_attempts(session, job_id),
        "events": events,
        "artifacts": list_artifacts(session, job_id),
        "log": _log_tail(session, job),
        "viewer": viewer,
        "is_live": not JobStatus(job.status).is_terminal,
    }


def _row(job: Job) -> dict[str, Any]:
    model, dataset = job.spec.get("model", {}), job.spec.get("dataset")
    return {
        "id": job.id,
        "status": job.status,
        "phase": job.phase,
        "kind": job.kind,
        "model": " ".join(filter(None, (model.get("name"), model.get("backbone")))) or "-",
        "dataset": f"{dataset['name']} v{dataset['version']}" if dataset else "-",
        "percent": _percent(job),
        "epochs": _epochs(job.progress or {}),
        "age": format_duration((datetime.now(UTC) - job.created_at).total_seconds()),
        "created_at": job.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "took": _took(job),
        "owner": job.owner,
        "attempt": job.attempt,
        "error": (job.error or {}).get("message"),
    }


def _percent(job: Job) -> float | None:
    if job.status == JobStatus.SUCCEEDED.value:
        return 100.0
    return (job.progress or {}).get("percent")


def _epochs(progress: dict[str, Any]) -> str:
    epoch, epochs = progress.get("epoch"), progress.get("epochs")
    return f"epoch {epoch} of {epochs}" if epoch is not None and epochs else ""


def _took(job: Job) -> str:
    if job.started_at is None:
        return "-"
    return format_duration(((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds())


def _log_tail(session: Session, job: Job) -> str:
    chunks = session.scalars(
        select(LogChunk.content)
        .where(LogChunk.job_id == job.id, LogChunk.attempt == job.attempt)
        .order_by(LogChunk.number.desc())
        .limit(LOG_CHUNKS)
    ).all()
    return "".join(reversed(chunks))[-LOG_CHARS:]


def format_duration(seconds: float) -> str:
    """The two largest units: ``3 min 20 s``."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
