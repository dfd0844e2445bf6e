"""From the stream to deliveries: behind a cursor, so that each event is looked at once and none left out."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.notification_tables import WebhookCursor, WebhookDelivery, WebhookEndpoint
from heimdall_core.notifications.endpoints import wanted_by
from heimdall_core.notifications.messages import event_message
from heimdall_core.notifications.stream import (
    EventFilter,
    StreamEvent,
    event_id,
    last_event_number,
    read_events,
)

_CURSOR: Final = "deliveries"
_EVERYTHING: Final = EventFilter()


def make_deliveries(session: Session, *, limit: int = 500) -> bool:
    """Makes the deliveries of the next events; returns whether there may be more.

    One transaction at a time does it: whoever finds the cursor taken has nothing to do.
    """
    session.execute(insert(WebhookCursor).values(name=_CURSOR, event_id=0).on_conflict_do_nothing())
    taken = select(WebhookCursor.event_id).where(WebhookCursor.name == _CURSOR)
    position = session.scalar(taken.with_for_update(skip_locked=True))
    if position is None:
        return False
    endpoints = session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.disabled_at.is_(None))).all()
    if not endpoints:
        _move(session, last_event_number(session))
        return False
    events = read_events(session, _EVERYTHING, after=position, limit=limit)
    if events:
        _insert(session, _deliveries(endpoints, events))
        _move(session, events[-1].id)
    return len(events) == limit


def _deliveries(endpoints: Sequence[WebhookEndpoint], events: Sequence[StreamEvent]) -> list[dict[str, Any]]:
    wanted = [(endpoint, wanted_by(endpoint)) for endpoint in endpoints]
    return [
        {
            "id": new_id("whd"),
            "endpoint_id": endpoint.id,
            "message_id": event_id(event.id),
            "event": event.name,
            "body": event_message(event),
        }
        for event in events
        for endpoint, filtered in wanted
        if event.id > endpoint.after_event_id and filtered.matches(event)
    ]


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    if rows:
        statement = insert(WebhookDelivery).on_conflict_do_nothing(
            index_elements=["endpoint_id", "message_id"]
        )
        session.execute(statement, rows)


def _move(session: Session, number: int) -> None:
    session.execute(update(WebhookCursor).where(WebhookCursor.name == _CURSOR).values(event_id=number))
