"""Drift scores: kept, and counted by the schedules that wait for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.database.schedule_tables import DriftScore, Schedule
from heimdall_core.domain.errors import Conflict, FieldProblem, InvalidRequest
from heimdall_core.registry.queries import find_model
from heimdall_core.scheduling.conditions import DriftCondition, read_condition
from heimdall_core.scheduling.schedules import clock, cool_until

KEPT_SCORES: Final = 1000
"""Of each model, the newest."""

_CLOCKS_DIFFER: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewScore:
    """A score as it comes in."""

    model: str
    score: float
    observed_at: datetime | None
    """None: now."""
    source: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedScore:
    """A score that is kept, and the schedules that run because of it."""

    row: DriftScore
    due: Sequence[str]
    """Their ids."""


def record_score(session: Session, new: NewScore) -> CountedScore:
    """Keeps the score and makes the schedules due whose condition it fulfils; a repetition changes nothing.

    Raises:
        NotFound: no model has the name.
        InvalidRequest: it was observed in the future.
        Conflict: the source has said another score for that time.
    """
    find_model(session, new.model)
    now = clock(session)
    if new.observed_at is not None and new.observed_at > now + _CLOCKS_DIFFER:
        raise InvalidRequest(
            f"observed_at {new.observed_at.isoformat()} has not come yet",
            problems=(FieldProblem(pointer="/observed_at", detail="leave it out, or set the clock"),),
            hint="Leave observed_at out, or set the clock.",
            code="observed_in_future",
        )
    row, is_new = _keep(session, new, now)
    if not is_new:
        return CountedScore(row=row, due=())
    _forget_old(session, new.model)
    return CountedScore(row=row, due=_count(session, new.model, now))


def list_scores(session: Session, model: str, *, cursor: str | None, limit: int) -> Page[DriftScore]:
    """Newest observation first.

    Raises:
        NotFound: no model has the name.
    """
    find_model(session, model)
    key = (DriftScore.observed_at, DriftScore.id)
    statement = select(DriftScore).where(DriftScore.model == model)
    if cursor:
        statement = statement.where(tuple_(*key) < decode_cursor(cursor))
    statement = statement.order_by(*(column.desc() for column in key)).limit(limit + 1)
    found = session.scalars(statement).all()
    rows, more = found[:limit], len(found) > limit
    return Page(items=rows, next_cursor=encode_cursor(rows[-1].observed_at, rows[-1].id) if more else None)


def count_in_a_row(session: Session, schedule: Schedule, condition: DriftCondition) -> int:
    """How many of the newest scores, up to those that are needed, reach the threshold one after the other."""
    statement = select(DriftScore.score).where(
        DriftScore.model == schedule.model, DriftScore.created_at > schedule.counts_from
    )
    if condition.source is not None:
        statement = statement.where(DriftScore.source == condition.source)
    newest = statement.order_by(DriftScore.observed_at.desc(), DriftScore.id.desc())
    in_a_row = 0
    for score in session.scalars(newest.limit(condition.consecutive)):
        if score < condition.threshold:
            break
        in_a_row += 1
    return in_a_row


def _keep(session: Session, new: NewScore, now: datetime) -> tuple[DriftScore, bool]:
    values = {
        "id": new_id("drs"),
        "model": new.model,
        "score": new.score,
        "observed_at": new.observed_at or now,
        "source": new.source,
        "created_by": new.created_by,
    }
    statement = insert(DriftScore).values(values).on_conflict_do_nothing().returning(DriftScore)
    if row := session.scalar(statement):
        return row, True
    same = (DriftScore.model, DriftScore.source, DriftScore.observed_at)
    known = (new.model, new.source, values["observed_at"])
    former = session.scalars(select(DriftScore).where(tuple_(*same) == known)).one()
    if former.score != new.score:
        raise Conflict(
            f"source {new.source!r} has said {former.score} for {former.observed_at.isoformat()}",
            code="drift_score_differs",
            hint="Send each observation once, with its own observed_at.",
        )
    return former, False


def _forget_old(session: Session, model: str) -> None:
    newest = select(DriftScore.id).where(DriftScore.model == model)
    newest = newest.order_by(DriftScore.observed_at.desc(), DriftScore.id.desc())
    session.execute(delete(DriftScore).where(DriftScore.id.in_(newest.offset(KEPT_SCORES))))


def _count(session: Session, model: str, now: datetime) -> list[str]:
    """One that runs at this moment is left out: it begins to count anew."""
    waiting = select(Schedule).where(Schedule.model == model, Schedule.enabled, Schedule.kind == "drift")
    due = []
    for schedule in session.scalars(waiting.order_by(Schedule.id).with_for_update(skip_locked=True)):
        condition = read_condition(schedule.condition)
        assert isinstance(condition, DriftCondition)
        if count_in_a_row(session, schedule, condition) < condition.consecutive:
            schedule.occurrence_at = schedule.next_run_at = None
        elif schedule.next_run_at is None:
            schedule.occurrence_at = schedule.next_run_at = max(now, cool_until(schedule) or now)
        if schedule.next_run_at is not None:
            due.append(schedule.id)
    session.flush()
    return due
