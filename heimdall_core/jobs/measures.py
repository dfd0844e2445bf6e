"""What the fleet is like now, and how its attempts went since the last look: for who watches the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, func, literal_column, or_, select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, JobAttempt, JobEvent, Outbox, Worker
from heimdall_core.database.notification_tables import Event
from heimdall_core.domain.job import JobStatus

#: A worker that was silent for longer is not missed any more: somebody took it away.
MISSED_FOR: Final = timedelta(days=1)
#: As the partial indexes of jobs have it: with a parameter in its place every job would be looked at.
_QUEUED: Final = Job.status == literal_column("'queued'")
_RUNNING: Final = Job.status == literal_column("'running'")
_STARTED: Final = "job.started"
_TERMINAL: Final = frozenset(f"job.{status}" for status in JobStatus if status.is_terminal)
#: What ends an attempt and not the job.
_UNFINISHED: Final = frozenset({"job.requeued", "job.paused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The fleet at one moment."""

    jobs: Mapping[tuple[str, str], int]
    """By kind and status, of those that are queued or run."""
    oldest_seconds: float
    """How long the oldest queued job that may run has waited; 0: none waits."""
    workers: Mapping[str, int]
    """By state: ``alive``, ``draining``, ``lost``."""
    outbox_seconds: float
    """How long the oldest thing that MLflow was not told of has waited; 0: it knows everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The first attempt of a job began."""

    kind: str
    waited_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An attempt ended."""

    kind: str
    outcome: str
    seconds: float


def read_levels(session: Session, *, alive_seconds: float) -> Levels:
    """The fleet now; a worker that was silent for ``alive_seconds`` is lost."""
    counted = select(Job.kind, func.count().label("number")).group_by(Job.kind)
    by_status = {"queued": counted.where(_QUEUED), "running": counted.where(_RUNNING)}
    waits = (_QUEUED, Job.not_before <= func.now())
    oldest = select(_age(func.min(func.greatest(Job.queued_at, Job.not_before)))).where(*waits)
    untold = select(_age(func.min(Outbox.created_at))).where(Outbox.done_at.is_(None))
    return Levels(
        jobs={
            (row.kind, status): row.number
            for status, statement in by_status.items()
            for row in session.execute(statement)
        },
        oldest_seconds=float(session.execute(oldest).scalar_one()),
        workers=_count_workers(session, alive_seconds),
        outbox_seconds=float(session.execute(untold).scalar_one()),
    )


def _age(moment: ColumnElement[object]) -> ColumnElement[float]:
    return func.coalesce(func.extract("epoch", func.now() - moment), 0.0)


def _count_workers(session: Session, alive_seconds: float) -> dict[str, int]:
    silence = func.now() - Worker.last_seen_at
    state = case(
        (silence > timedelta(seconds=alive_seconds), "lost"),
        (Worker.draining_at.is_not(None), "draining"),
        else_="alive",
    )
    # One that was drained was meant to go.
    is_missed = or_(
        silence <= timedelta(seconds=alive_seconds), (Worker.draining_at.is_(None)) & (silence < MISSED_FOR)
    )
    statement = select(state.label("state"), func.count().label("number")).where(is_missed).group_by("state")
    counts = {row.state: row.number for row in session.execute(statement)}
    return {"alive": 0, "draining": 0, "lost": 0} | counts


def read_happenings(session: Session, *, after: int, limit: int = 5000) -> tuple[Sequence[Start | End], int]:
    """What happened to attempts after an event's number, and the number to go on after.

    Numbers become visible in their order, so that nothing is counted twice or left out.
    """
    rows = session.execute(_attempts_after(after).limit(limit)).all()
    found: list[Start | End] = []
    for row in rows:
        if row.name == _STARTED and row.number == 1:
            waited = (row.started_at - row.created_at).total_seconds()
            found.append(Start(kind=row.job_kind, waited_seconds=max(0.0, waited)))
        elif _ends_attempt(row):
            seconds = (row.ended_at - row.started_at).total_seconds()
            found.append(End(kind=row.job_kind, outcome=row.outcome, seconds=seconds))
    return found, rows[-1].id if rows else after


def _attempts_after(number: int) -> Select[*tuple[Any, ...]]:
    """Each event of an attempt, with its attempt and its job."""
    return (
        select(Event.id, Event.name, Event.job_kind, Job.created_at, Job.finished_at)
        .add_columns(JobAttempt.number, JobAttempt.started_at, JobAttempt.ended_at, JobAttempt.outcome)
        .join(JobEvent, JobEvent.id == Event.job_event_id)
        .join(Job, Job.id == JobEvent.job_id)
        .join(JobAttempt, (JobAttempt.job_id == Job.id) & (JobAttempt.number == JobEvent.attempt))
        .where(Event.id > number, Event.name.like("job.%"))
        .order_by(Event.id)
    )


def _ends_attempt(row: Any) -> bool:
    """Whether the event tells of the attempt's end, and not of that of a job that waited after it.

    Both times are that of the transaction that wrote them.
    """
    if row.ended_at is None:
        return False
    is_last: bool = row.name in _TERMINAL and row.finished_at == row.ended_at
    return is_last or row.name in _UNFINISHED
