"""One session as training would read it, whether or not it has been approved."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from heimdall_core.datasets.assembling import assemble_manifest
from heimdall_core.datasets.definition import DatasetDefinition, SessionQuery
from heimdall_core.datasets.selection import select_sessions
from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest

_UNIT = "session"
_REASONS = {
    "incomplete_source": "its source has no position or no frequency",
    "no_recordings": "no receiver recorded it",
    "unverified_iq": "no recording has a location, checksum, byte range, sample rate and known format",
}


def describe_session(session: Session, session_id: UUID, *, raw_bucket: str) -> Manifest:
    """A manifest of this session alone.

    Raises:
        DataError: nothing of it could train (``recording_unreadable``).
        InvalidRequest: no such session.
    """
    query = SessionQuery(session_ids=(session_id,), approval_status=("pending", "approved", "rejected"))
    selection = select_sessions(session, query, raw_bucket=raw_bucket)
    if not selection.sessions:
        raise DataError(
            f"session {session_id} cannot be read: {_reason(selection.left_out)}",
            code="recording_unreadable",
            hint="Import its recordings again, or complete its source in the platform.",
        )
    definition = DatasetDefinition(name=_UNIT, query=query)
    return assemble_manifest(selection, definition, units=[_UNIT], splits={_UNIT: "train"}, version=1)


def _reason(left_out: Mapping[str, int]) -> str:
    return next((_REASONS[reason] for reason in left_out if reason in _REASONS), "its source is not known")
