"""Recording sessions and their approval."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.dependencies import Cursor, Limit, Store, Transaction, needs
from api.schemas.pages import PageDocument, page_document
from api.schemas.recordings import (
    ApprovalResult,
    SessionDetailDocument,
    SessionDocument,
    session_detail_document,
    session_document,
)
from heimdall_core.catalogue.sessions import (
    ApprovalChange,
    ApprovalRequest,
    ApprovalStatus,
    approve_sessions,
    find_session,
    list_sessions,
    set_approval,
)

router = APIRouter(prefix="/v1/recording-sessions", tags=["recordings"])


@router.get("", dependencies=[needs("recordings:read")])
def list_recording_sessions(
    session: Transaction,
    approval_status: ApprovalStatus | None = None,
    import_job_id: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageDocument[SessionDocument]:
    """Sessions, newest first."""
    page = list_sessions(
        session,
        approval_status=approval_status,
        import_job_id=import_job_id,
        cursor=cursor,
        limit=limit,
    )
    return page_document(page, session_document)


@router.get("/{session_id}", dependencies=[needs("recordings:read")])
def read_recording_session(session_id: UUID, session: Transaction, store: Store) -> SessionDetailDocument:
    """One session with its recordings and its archive."""
    return session_detail_document(find_session(session, session_id), store)


@router.patch("/{session_id}", dependencies=[needs("recordings:write")])
def change_recording_session(
    session_id: UUID, change: ApprovalChange, session: Transaction, store: Store
) -> SessionDetailDocument:
    """Approves or rejects a session; dataset versions frozen before keep what they have."""
    return session_detail_document(set_approval(session, session_id, change.approval_status), store)


# Matches ``/v1/recording-sessions:approve``: the router's prefix and this path are joined as they are.
@router.post(":approve", dependencies=[needs("recordings:write")])
def approve_recording_sessions(request: ApprovalRequest, session: Transaction) -> ApprovalResult:
    """Approves the pending sessions of an import, or those named by `ids`."""
    return ApprovalResult(approved=approve_sessions(session, request))
