"""T2 and T9: hints for forgotten jobs, and an end for those that waited too long."""

from datetime import timedelta

from sqlalchemy import and_, func, literal, or_, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.job import JobStatus
from heimdall_core.jobs.events import record_event


def mark_for_hint(session: Session, *, silence_seconds: float, limit: int = 50) -> int:
    """Marks due queued jobs that nobody was hinted about for a while; returns how many."""
    silent = or_(
        Job.dispatched_at.is_(None),
        Job.dispatched_at < func.now() - literal(timedelta(seconds=silence_seconds)),
    )
    due = (
        select(Job.id)
        .where(Job.status == JobStatus.QUEUED.value, Job.not_before <= func.now(), silent)
        .order_by(Job.priority_rank.desc(), Job.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = update(Job).where(Job.id.in_(due)).values(dispatched_at=func.now())
    return len(session.execute(statement.returning(Job.id)).all())


def expire_waiting(session: Session, *, limit_seconds: float, limit: int = 100) -> int:
    """Fails queued and paused jobs that waited beyond their own limit or the service's; returns how many."""
    waiting = (JobStatus.QUEUED.value, JobStatus.PAUSED.value)
    waited = func.extract("epoch", func.now() - func.greatest(Job.queued_at, Job.not_before))
    beyond_own = and_(Job.status == JobStatus.QUEUED.value, waited > Job.max_pending_seconds)
    too_old = (
        select(Job.id)
        .where(Job.status.in_(waiting), or_(waited > limit_seconds, beyond_own))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    error = ErrorInfo(
        code="expired",
        category=ErrorCategory.USER,
        message="the job waited longer than limits.max_pending_seconds or the service allows",
        hint="POST :retry queues it again; GET /v1/workers lists the workers.",
    )
    statement = (
        update(Job)
        .where(Job.id.in_(too_old), Job.status.in_(waiting))
        .values(
            status=JobStatus.FAILED.value,
            error=error.to_dict(),
            finished_at=func.now(),
            updated_at=func.now(),
            revision=Job.revision + 1,
        )
    )
    jobs = session.scalars(statement.returning(Job), execution_options={"synchronize_session": False}).all()
    for job in jobs:
        record_event(session, job, "job.failed", error=error.to_dict())
    return len(jobs)
