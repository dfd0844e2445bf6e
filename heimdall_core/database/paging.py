"""Keyset paging over ``(created_at, id)``, newest first, with opaque cursors."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from heimdall_core.domain.errors import FieldProblem, InvalidRequest

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Some items, and where the next ones begin."""

    items: Sequence[Item]
    next_cursor: str | None


def encode_cursor(created_at: datetime, item_id: str) -> str:
    """The cursor that continues after this item."""
    raw = json.dumps([created_at.isoformat(), item_id]).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The position that a cursor names.

    Raises:
        InvalidRequest: the text is no cursor of ours.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        created_at, item_id = json.loads(raw)
        moment = datetime.fromisoformat(created_at)
    except (binascii.Error, ValueError, TypeError) as error:
        problem = FieldProblem(pointer="/cursor", detail="use the next_cursor of a former page, unchanged")
        raise InvalidRequest("the cursor is not valid", problems=(problem,)) from error
    if moment.tzinfo is None or not isinstance(item_id, str):
        raise InvalidRequest("the cursor is not valid")
    return moment, item_id
