"""Events on the wire: the same document in pages, in streams and in webhooks."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from heimdall_core.domain.job import JobKind
from heimdall_core.notifications.messages import event_fields
from heimdall_core.notifications.stream import StreamEvent, event_id


class EventDocument(BaseModel):
    """Something that happened to a job or to a model."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(
        description="Rises with the order of the commits; the same in pages, streams and webhooks.",
        examples=["evt_42"],
    )
    event: str = Field(examples=["job.queued"])
    job_id: str | None = Field(description="The job; of a model's event that by which it happened, if one.")
    kind: JobKind | None = Field(description="Of the job; null: a model's event.")
    model: str | None = Field(description="Name of the model that the event is about or the job makes.")
    attempt: int | None
    created_at: datetime
    data: dict[str, Any]


class EventPage(BaseModel):
    """Events after an id, oldest first."""

    model_config = ConfigDict(extra="forbid")

    data: list[EventDocument]
    next_after: str = Field(description="Pass it back as `after` to go on.", examples=["evt_42"])


def event_document(event: StreamEvent) -> EventDocument:
    """The wire form of an event."""
    return EventDocument.model_validate(event_fields(event))


def event_page(events: Sequence[StreamEvent], *, next_after: int) -> EventPage:
    """The wire form of a page."""
    return EventPage(data=[event_document(event) for event in events], next_after=event_id(next_after))


def progress_frame(event: StreamEvent) -> bytes:
    """The form of what is no event of the history: without an id, so that nobody goes on after it."""
    fields = {name: value for name, value in event_fields(event).items() if name != "id"}
    return f"event: {event.name}\ndata: {json.dumps(fields, separators=(',', ':'))}\n\n".encode()


def event_frame(event: StreamEvent) -> bytes:
    """The form of an event in a ``text/event-stream``."""
    document = event_document(event)
    name = " ".join(document.event.split())  # a line break would end the field
    return f"id: {document.id}\nevent: {name}\ndata: {document.model_dump_json()}\n\n".encode()
