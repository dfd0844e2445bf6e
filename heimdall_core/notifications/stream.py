"""The one stream of events: what happened to jobs and models, in the order in which it became visible."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, or_, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelEvent
from heimdall_core.database.job_tables import JobEvent
from heimdall_core.database.notification_tables import Event
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.job import JobStatus

#: The last event of a job.
TERMINAL_EVENTS: Final = frozenset(f"job.{status}" for status in JobStatus if status.is_terminal)
#: The name of an event; with ``*`` at the end, of all that begin so.
NAME_PATTERN: Final = r"^(\*|[A-Za-z0-9_.-]{1,100}\*?)$"
#: An event's id, or its number alone.
ID_PATTERN: Final = r"^(evt_)?\d{1,18}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """An event, and where it stands."""

    id: int
    name: str
    job_id: str | None
    job_kind: str | None
    model: str | None
    owner: str | None
    attempt: int | None
    created_at: datetime
    data: dict[str, Any]
    is_of_job: bool
    """False: a model's."""

    @property
    def ends_job(self) -> bool:
        """Whether nothing more will be told of its job."""
        return self.is_of_job and self.name in TERMINAL_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; empty means any."""

    owner: str | None = None
    """Only jobs of this owner; None: everybody's."""
    models_too: bool = True
    """Whether events of models are among them."""
    names: tuple[str, ...] = ()
    """As ``NAME_PATTERN``."""
    kinds: tuple[str, ...] = ()
    """Of jobs; events of models have none."""
    job_id: str | None = None
    model: str | None = None

    def matches(self, event: StreamEvent) -> bool:
        """Whether the event is one of them: what ``conditions`` says in SQL."""
        return (
            (self.models_too or event.is_of_job)
            and (self.owner is None or event.owner in {None, self.owner})
            and (self.job_id is None or event.job_id == self.job_id)
            and (self.model is None or event.model == self.model)
            and (not self.kinds or event.job_kind in self.kinds)
            and (not self.names or any(_is_called(event.name, pattern) for pattern in self.names))
        )

    def conditions(self) -> list[ColumnElement[bool]]:
        """Which rows of ``Event`` they are."""
        found: list[ColumnElement[bool]] = []
        if not self.models_too:
            found.append(Event.model_event_id.is_(None))
        if self.owner is not None:
            found.append(or_(Event.owner == self.owner, Event.model_event_id.is_not(None)))
        if self.job_id is not None:
            found.append(Event.job_id == self.job_id)
        if self.model is not None:
            found.append(Event.model == self.model)
        if self.kinds:
            found.append(Event.job_kind.in_(self.kinds))
        if self.names:
            found.append(or_(*(_name_condition(pattern) for pattern in self.names)))
        return found


def of_job(job_id: str) -> EventFilter:
    """A job's history, for whoever may see the job."""
    return EventFilter(job_id=job_id, models_too=False)


def event_id(number: int) -> str:
    """The id on the wire."""
    return f"evt_{number}"


def event_number(text: str, *, pointer: str) -> int:
    """The number in an event's id.

    Raises:
        InvalidRequest: it is none.
    """
    if not re.fullmatch(ID_PATTERN, text):
        problem = FieldProblem(pointer=pointer, detail="give the id of an event, such as evt_42")
        raise InvalidRequest(
            f"{text[:50]!r} is not the id of an event", problems=(problem,), code="invalid_event_id"
        )
    return int(text.removeprefix("evt_"))


def last_event_number(reader: Session | Connection) -> int:
    """The number of the newest event; 0: there is none."""
    return reader.execute(select(func.coalesce(func.max(Event.id), 0))).scalar_one()


def read_events(
    reader: Session | Connection, wanted: EventFilter, *, after: int, limit: int
) -> list[StreamEvent]:
    """The wanted events with numbers above ``after``, the oldest first.

    Numbers become visible in their order: none below the last one can appear later.
    """
    statement = (
        select(*_COLUMNS)
        .select_from(Event)
        .outerjoin(JobEvent, JobEvent.id == Event.job_event_id)
        .outerjoin(ModelEvent, ModelEvent.id == Event.model_event_id)
        .where(and_(Event.id > after, *wanted.conditions()))
        .order_by(Event.id)
        .limit(limit)
    )
    return [_event(row) for row in reader.execute(statement).mappings()]


_MODEL_DATA: Final = ("version", "former_version", "actor", "reason", "forced", "verdict")
_COLUMNS: Final = (
    Event.id,
    Event.name,
    Event.job_id,
    Event.job_kind,
    Event.model,
    Event.owner,
    Event.job_event_id,
    JobEvent.attempt,
    JobEvent.data,
    func.coalesce(JobEvent.created_at, ModelEvent.at).label("created_at"),
    *(getattr(ModelEvent, name) for name in _MODEL_DATA),
)


def _event(row: RowMapping) -> StreamEvent:
    is_of_job = row["job_event_id"] is not None
    return StreamEvent(
        id=row["id"],
        name=row["name"],
        job_id=row["job_id"],
        job_kind=row["job_kind"],
        model=row["model"],
        owner=row["owner"],
        attempt=row["attempt"],
        created_at=row["created_at"],
        data=row["data"] if is_of_job else {name: row[name] for name in _MODEL_DATA},
        is_of_job=is_of_job,
    )


def _is_called(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _name_condition(pattern: str) -> ColumnElement[bool]:
    if pattern.endswith("*"):
        return Event.name.startswith(pattern[:-1], autoescape=True)
    return Event.name == pattern
