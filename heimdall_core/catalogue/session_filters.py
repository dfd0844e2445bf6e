"""Conditions on recording sessions that several statements share."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func

from heimdall_core.database.platform_tables import RecordingSession


def has_approval(status: str) -> ColumnElement[bool]:
    """Sessions of this approval status; the platform may leave it open, which is pending."""
    return func.coalesce(RecordingSession.approval_status, "pending") == status


def started_within(
    statement: Select[*tuple[Any, ...]], after: datetime | None, before: datetime | None
) -> Select[*tuple[Any, ...]]:
    """Sessions that began at ``after`` or later and earlier than ``before``; None: unbounded."""
    if after is not None:
        statement = statement.where(RecordingSession.session_start >= in_utc(after))
    if before is not None:
        statement = statement.where(RecordingSession.session_start < in_utc(before))
    return statement


def in_utc(moment: datetime) -> datetime:
    """A time without an offset is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
