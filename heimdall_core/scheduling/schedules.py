"""Schedules: made, found, listed, changed, and told when they run next."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.database.schedule_tables import Schedule
from heimdall_core.domain.errors import Conflict, InvalidRequest, NotFound
from heimdall_core.registry.queries import find_model
from heimdall_core.retraining.overrides import moved, refuse_fixed
from heimdall_core.scheduling.conditions import (
    CronCondition,
    DriftCondition,
    NewSessionsCondition,
    RetrainWish,
    read_condition,
    write_condition,
    write_wish,
)
from heimdall_core.scheduling.cron import check_cron, next_run

MAX_SCHEDULES: Final = 100
"""Of one owner."""

LOOK_INTERVAL: Final = timedelta(seconds=60)
"""So often a schedule that waits for new sessions is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleWish:
    """What a schedule shall be; None: as it is."""

    name: str | None = None
    when: CronCondition | NewSessionsCondition | DriftCondition | None = None
    retrain: RetrainWish | None = None
    enabled: bool | None = None
    min_interval_seconds: int | None = None


def create_schedule(
    session: Session,
    *,
    owner: str,
    name: str,
    model: str,
    when: CronCondition | NewSessionsCondition | DriftCondition,
    retrain: RetrainWish,
    enabled: bool,
    min_interval_seconds: int,
) -> Schedule:
    """A schedule whose runs are its owner's.

    Raises:
        NotFound: no model has the name.
        InvalidRequest: the expression cannot be read or never fires, the time zone is unknown, or the
            overrides name what a retraining cannot override.
        Conflict: the owner has as many schedules as one may have.
    """
    find_model(session, model)
    _require_room(session, owner)
    now = clock(session)
    schedule = Schedule(
        id=new_id("sch"),
        owner=owner,
        name=name,
        model=model,
        retrain=_checked(retrain),
        enabled=enabled,
        min_interval_seconds=min_interval_seconds,
        counts_from=now,
    )
    _set_condition(schedule, when, now)
    session.add(schedule)
    return _stored(session, schedule)


def find_schedule(
    session: Session, schedule_id: str, *, owner: str | None, for_update: bool = False
) -> Schedule:
    """The schedule, if this owner may see it.

    Raises:
        NotFound: no such schedule, or another owner's.
    """
    schedule = session.get(Schedule, schedule_id, with_for_update=True if for_update else None)
    if schedule is None or owner not in {None, schedule.owner}:
        raise NotFound(
            f"no schedule {schedule_id!r}",
            code="schedule_not_found",
            hint="GET /v1/schedules lists yours.",
        )
    return schedule


def list_schedules(
    session: Session, *, owner: str | None, model: str | None, cursor: str | None, limit: int
) -> Page[Schedule]:
    """Newest first; ``owner`` None: everybody's; ``model`` None: of all models."""
    key = (Schedule.created_at, Schedule.id)
    statement = select(Schedule).order_by(*(column.desc() for column in key))
    if owner is not None:
        statement = statement.where(Schedule.owner == owner)
    if model is not None:
        statement = statement.where(Schedule.model == model)
    if cursor:
        statement = statement.where(tuple_(*key) < decode_cursor(cursor))
    found = session.scalars(statement.limit(limit + 1)).all()
    rows, more = found[:limit], len(found) > limit
    return Page(items=rows, next_cursor=encode_cursor(rows[-1].created_at, rows[-1].id) if more else None)


def change_schedule(session: Session, schedule: Schedule, wish: ScheduleWish) -> Schedule:
    """Changes what the wish names; another condition, or one enabled again, counts from now on.

    Raises:
        InvalidRequest: the expression cannot be read or never fires, the time zone is unknown, or the
            overrides name what a retraining cannot override.
    """
    now = clock(session)
    if wish.name is not None:
        schedule.name = wish.name
    if wish.retrain is not None:
        schedule.retrain = _checked(wish.retrain)
    if wish.min_interval_seconds is not None:
        schedule.min_interval_seconds = wish.min_interval_seconds
    is_woken = bool(wish.enabled) and not schedule.enabled
    if wish.enabled is not None:
        schedule.enabled = wish.enabled
    if wish.when is not None or is_woken:
        schedule.counts_from = now
        _set_condition(schedule, wish.when or read_condition(schedule.condition), now)
    schedule.updated_at = func.now()
    return _stored(session, schedule)


def plan_next(schedule: Schedule, now: datetime, *, wait: timedelta = LOOK_INTERVAL) -> None:
    """Sets the occasion of the next run, and when it is acted on.

    Args:
        schedule: its condition decides; a cool-down moves only looks at the catalogue.
        now: by the database's clock.
        wait: until the catalogue is looked at again.
    """
    condition, after = read_condition(schedule.condition), schedule.occurrence_at or now
    schedule.occurrence_at = schedule.next_run_at = None
    if isinstance(condition, CronCondition):
        if planned := next_run(schedule.id, condition, after=after, now=now):
            schedule.occurrence_at, schedule.next_run_at = planned
    elif isinstance(condition, NewSessionsCondition):
        schedule.occurrence_at = schedule.next_run_at = max(now + wait, cool_until(schedule) or now)


def cool_until(schedule: Schedule) -> datetime | None:
    """When the cool-down after its last job ends; None: it never had one."""
    if schedule.last_run_at is None:
        return None
    return schedule.last_run_at + timedelta(seconds=schedule.min_interval_seconds)


def clock(session: Session) -> datetime:
    """The database's time at the start of the transaction."""
    return session.execute(select(func.now())).scalar_one()


def _set_condition(
    schedule: Schedule, when: CronCondition | NewSessionsCondition | DriftCondition, now: datetime
) -> None:
    if isinstance(when, CronCondition):
        check_cron(when, now=now)
    schedule.kind = when.type
    schedule.condition = write_condition(when)
    schedule.catalogue_state = schedule.occurrence_at = None
    plan_next(schedule, now, wait=timedelta(0))


def _checked(wish: RetrainWish) -> dict[str, Any]:
    try:
        refuse_fixed(wish.overrides)
    except InvalidRequest as refusal:
        raise moved(refusal, "/retrain") from refusal
    return write_wish(wish)


def _require_room(session: Session, owner: str) -> None:
    count = select(func.count()).select_from(Schedule).where(Schedule.owner == owner)
    if session.execute(count).scalar_one() >= MAX_SCHEDULES:
        raise Conflict(
            f"{owner} has {MAX_SCHEDULES} schedules, as many as one may have",
            code="too_many_schedules",
            hint="Delete one that is not needed.",
        )


def _stored(session: Session, schedule: Schedule) -> Schedule:
    session.flush()
    session.refresh(schedule)
    return schedule
