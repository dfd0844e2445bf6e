"""What a webhook is told: the document of the event, in an envelope that stays small."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from heimdall_core.notifications.stream import StreamEvent, event_id

#: More than this of an event's own data is left out: a message stays below 20 kB.
MAX_DATA_BYTES: Final = 12_000
TEST_EVENT: Final = "webhook.test"


def event_fields(event: StreamEvent) -> dict[str, Any]:
    """The document of an event: the same in pages, streams and messages."""
    return {
        "id": event_id(event.id),
        "event": event.name,
        "job_id": event.job_id,
        "kind": event.job_kind,
        "model": event.model,
        "attempt": event.attempt,
        "created_at": _time(event.created_at),
        "data": event.data,
    }


def event_message(event: StreamEvent) -> str:
    """The body of a message about an event; ``complete`` is false where its data were left out."""
    fields = event_fields(event)
    is_complete = len(_compact(event.data).encode()) <= MAX_DATA_BYTES
    if not is_complete:
        fields["data"] = {}
    return _message(event.name, event.created_at, {**fields, "complete": is_complete})


def trial_message(endpoint_id: str, at: datetime) -> str:
    """The body of a message that tests an endpoint."""
    return _message(TEST_EVENT, at, {"endpoint_id": endpoint_id})


def _message(kind: str, at: datetime, data: dict[str, Any]) -> str:
    return _compact({"type": kind, "timestamp": _time(at), "data": data})


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
