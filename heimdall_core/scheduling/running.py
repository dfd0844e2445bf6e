"""Runs: a schedule that is due becomes a job, or says why not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.database.schedule_tables import Schedule
from heimdall_core.domain.errors import Conflict, HeimdallError, InfrastructureError
from heimdall_core.domain.job import JobStatus
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.retraining import RetrainCall, Retraining, RetrainOutcome, retrain_model
from heimdall_core.scheduling.conditions import CronCondition, NewSessionsCondition, read_condition, read_wish
from heimdall_core.scheduling.new_sessions import has_new_sessions
from heimdall_core.scheduling.schedules import LOOK_INTERVAL, clock, cool_until, plan_next

MISSED_AFTER: Final = timedelta(minutes=5)
"""A run that is later than this was missed: nobody was there for it."""

REPEAT_AFTER: Final = timedelta(minutes=1)
"""A run that failed for want of the object store is tried again after this."""

LOOK_AFTER_REFUSAL: Final = timedelta(minutes=10)

_DUE: Final = (Schedule.enabled, Schedule.next_run_at <= func.now())
#: Refusals that only say that there is nothing to do.
_NOTHING_TO_DO: Final = frozenset({"nothing_new", "too_few_new_sessions", "duplicate_job"})


class ScheduleOutcome(StrEnum):
    """What came of an occasion."""

    #: It queued a job.
    QUEUED = "queued"
    #: A job was queued already, which serves it too.
    JOINED = "joined"
    #: There was nothing to do, or it was not the time to do it.
    SKIPPED = "skipped"
    #: It could not be done.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where a run reads and writes."""

    store: ObjectStore
    bucket: str
    """Of manifests."""
    raw_bucket: str
    """Of recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """What a run came to."""

    schedule_id: str
    outcome: ScheduleOutcome
    job_id: str | None
    code: str | None


def due_schedules(session: Session, *, limit: int) -> Sequence[str]:
    """Ids of schedules that are due, by one indexed statement; the longest due first."""
    statement = select(Schedule.id).where(*_DUE).order_by(Schedule.next_run_at).limit(limit)
    return session.scalars(statement).all()


def run_if_due(session: Session, schedule_id: str, stores: Stores) -> ScheduledRun | None:
    """Does what the schedule asks for, if it is due and no other process is at it; commit, then hint.

    The occasion is part of the ``dedupe_key``: an occasion that is tried twice has one job.

    Returns:
        What it came to; None: nothing was to be done.
    """
    due = select(Schedule).where(Schedule.id == schedule_id, *_DUE).with_for_update(skip_locked=True)
    schedule = session.scalar(due)
    if schedule is None:
        return None
    now = clock(session)
    if code := _hindrance(session, schedule, now):
        return _skip(schedule, code, now)
    try:
        with session.begin_nested():
            found = _retrain(session, schedule, stores, now)
    except HeimdallError as refusal:
        return _refuse(schedule, refusal, now)
    if found is None:
        plan_next(schedule, now)
        return None
    return _ran(schedule, found, now)


def run_now(session: Session, schedule: Schedule, stores: Stores) -> ScheduledRun:
    """Does at once what the schedule asks for, whatever it waits for; the caller holds its row.

    Raises:
        Conflict: its last job has not ended, or as for ``retrain_model``.
        NotFound: no model has the name.
        StorageUnavailable: the manifest could not be stored.
    """
    if _is_running(session, schedule):
        raise Conflict(
            f"the last job of schedule {schedule.id}, {schedule.job_id}, has not ended",
            code="still_running",
            hint="Wait for it, or cancel it.",
        )
    now = clock(session)
    call = _call(schedule, f"{schedule.id}:{new_id('run')}")
    run = _note_job(schedule, _ask(session, call, stores), now)
    session.flush()
    session.refresh(schedule)
    return run


def _hindrance(session: Session, schedule: Schedule, now: datetime) -> str | None:
    """Why this is not the time; a code."""
    condition = read_condition(schedule.condition)
    planned = schedule.next_run_at or now
    if isinstance(condition, CronCondition) and condition.catch_up == "skip" and now - planned > MISSED_AFTER:
        return "missed"
    if _is_running(session, schedule):
        return "still_running"
    until = cool_until(schedule)
    return "cooling_down" if until is not None and until > now else None


def _is_running(session: Session, schedule: Schedule) -> bool:
    job = session.get(Job, schedule.job_id) if schedule.job_id else None
    return job is not None and not JobStatus(job.status).is_terminal


def _retrain(session: Session, schedule: Schedule, stores: Stores, now: datetime) -> Retraining | None:
    condition = read_condition(schedule.condition)
    if isinstance(condition, NewSessionsCondition) and not has_new_sessions(
        session, schedule, condition.sessions, now=now, store=stores.store, raw_bucket=stores.raw_bucket
    ):
        return None
    assert schedule.occurrence_at is not None
    return _ask(session, _call(schedule, f"{schedule.id}:{schedule.occurrence_at.isoformat()}"), stores)


def _call(schedule: Schedule, dedupe_key: str) -> RetrainCall:
    wish = asdict(read_wish(schedule.retrain))
    return RetrainCall(model=schedule.model, caller=schedule.owner, dedupe_key=dedupe_key, **wish)


def _ask(session: Session, call: RetrainCall, stores: Stores) -> Retraining:
    return retrain_model(
        session, call, store=stores.store, bucket=stores.bucket, raw_bucket=stores.raw_bucket
    )


def _skip(schedule: Schedule, code: str, now: datetime) -> ScheduledRun:
    """Of a schedule that looks at the catalogue nothing was asked yet: it looks again, and notes nothing."""
    if schedule.kind != "new_sessions":
        _note(schedule, ScheduleOutcome.SKIPPED, now, code=code)
    _go_on(schedule, now)
    return ScheduledRun(schedule_id=schedule.id, outcome=ScheduleOutcome.SKIPPED, job_id=None, code=code)


def _refuse(schedule: Schedule, refusal: HeimdallError, now: datetime) -> ScheduledRun:
    code = refusal.stable_code
    is_idle = code in _NOTHING_TO_DO
    outcome = ScheduleOutcome.SKIPPED if is_idle else ScheduleOutcome.REFUSED
    _note(schedule, outcome, now, code=code, detail=refusal.message)
    if isinstance(refusal, InfrastructureError) and refusal.retryable:
        schedule.next_run_at = now + REPEAT_AFTER
    else:
        _go_on(schedule, now, wait=LOOK_AFTER_REFUSAL)
    return ScheduledRun(schedule_id=schedule.id, outcome=outcome, job_id=None, code=code)


def _ran(schedule: Schedule, found: Retraining, now: datetime) -> ScheduledRun:
    run = _note_job(schedule, found, now)
    _go_on(schedule, now)
    return run


def _note_job(schedule: Schedule, found: Retraining, now: datetime) -> ScheduledRun:
    is_joined = found.outcome is RetrainOutcome.JOINED
    outcome = ScheduleOutcome.JOINED if is_joined else ScheduleOutcome.QUEUED
    schedule.job_id, schedule.last_run_at, schedule.counts_from = found.job.id, now, now
    schedule.catalogue_state = None
    _note(schedule, outcome, now, job_id=found.job.id)
    return ScheduledRun(schedule_id=schedule.id, outcome=outcome, job_id=found.job.id, code=None)


def _note(
    schedule: Schedule,
    outcome: ScheduleOutcome,
    now: datetime,
    *,
    job_id: str | None = None,
    code: str | None = None,
    detail: str | None = None,
) -> None:
    schedule.last_outcome = {
        "at": now.isoformat(),
        "outcome": outcome.value,
        "job_id": job_id,
        "code": code,
        "detail": detail,
    }


def _go_on(schedule: Schedule, now: datetime, *, wait: timedelta = LOOK_INTERVAL) -> None:
    """The occasion is over; scores that led to it do not count again."""
    if schedule.kind == "drift":
        schedule.counts_from = now
    plan_next(schedule, now, wait=wait)
