"""Recording sessions and their approval."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from api.conditional import (
    NOT_MODIFIED,
    PRECONDITION_FAILED,
    Conditional,
    IfMatch,
    etag_of,
    require_match,
)
from api.dependencies import Caller, Composition, Cursor, Limit, Once, Policy, Transaction, needs
from api.routes.jobs import accepted
from api.schemas.jobs import JobDocument
from api.schemas.pages import PageDocument, page_document
from api.schemas.recordings import (
    ApprovalResult,
    SessionDetailDocument,
    SessionDocument,
    session_detail_document,
    session_document,
)
from api.services import Services
from heimdall_core.catalogue.platform import PlatformImport, import_platform_sessions
from heimdall_core.catalogue.sessions import (
    ApprovalChange,
    ApprovalRequest,
    ApprovalStatus,
    SessionDetail,
    SessionFilter,
    approve_sessions,
    find_session,
    hold_session,
    list_sessions,
    set_approval,
)
from heimdall_core.jobs.submission import submit_job

router = APIRouter(prefix="/v1/recording-sessions", tags=["recordings"])


@router.get("", dependencies=[needs("recordings:read")])
def list_recording_sessions(
    session: Transaction,
    approval_status: ApprovalStatus | None = None,
    import_job_id: Annotated[str | None, Query(max_length=64)] = None,
    source: Annotated[str | None, Query(max_length=255, description="Name of the known source.")] = None,
    started_after: Annotated[datetime | None, Query(description="Began then or later.")] = None,
    started_before: Annotated[datetime | None, Query(description="Began earlier.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageDocument[SessionDocument]:
    """Sessions, newest first."""
    wanted = SessionFilter(
        approval_status=approval_status,
        import_job_id=import_job_id,
        source=source,
        started_after=started_after,
        started_before=started_before,
    )
    page = list_sessions(session, wanted, cursor=cursor, limit=limit)
    return page_document(page, session_document)


@router.get(
    "/{session_id}",
    response_model=SessionDetailDocument,
    dependencies=[needs("recordings:read")],
    responses=NOT_MODIFIED,
)
def read_recording_session(
    session_id: UUID,
    session: Transaction,
    services: Composition,
    conditional: Annotated[Conditional, Depends()],
) -> Response:
    """One session with its recordings, and its archive if it came as one."""
    return conditional.answer(_detail(find_session(session, session_id), services))


@router.patch("/{session_id}", dependencies=[needs("recordings:write")], responses=PRECONDITION_FAILED)
def change_recording_session(
    session_id: UUID,
    change: ApprovalChange,
    session: Transaction,
    services: Composition,
    response: Response,
    if_match: IfMatch = None,
) -> SessionDetailDocument:
    """Approves or rejects a session; dataset versions frozen before keep what they have."""
    if if_match is not None:
        hold_session(session, session_id)
        require_match(if_match, _detail(find_session(session, session_id), services), services.settings)
    document = _detail(set_approval(session, session_id, change.approval_status), services)
    response.headers["ETag"] = etag_of(document, services.settings)
    return document


# Matches ``/v1/recording-sessions:approve``: the router's prefix and this path are joined as they are.
@router.post(":approve", dependencies=[needs("recordings:write")])
def approve_recording_sessions(request: ApprovalRequest, session: Transaction) -> ApprovalResult:
    """Approves the pending sessions of an import, or those named by `ids`."""
    return ApprovalResult(approved=approve_sessions(session, request))


@router.post(":import", status_code=202, response_model=JobDocument, dependencies=[needs("recordings:write")])
def import_recording_sessions(
    request: PlatformImport,
    session: Transaction,
    caller: Caller,
    services: Composition,
    once: Once,
    policy: Policy,
) -> Response:
    """Takes over sessions that the Heimdall platform recorded, all that are not yet or those asked for.

    Its `.npy` objects are read and checked where they lie, and its rows keep their values.
    """
    bucket = services.settings.storage.raw_bucket
    return once.answer(
        lambda: accepted(
            session,
            import_platform_sessions(session, request, bucket=bucket, owner=caller.owner, submit=submit_job),
            policy,
        )
    )


def _detail(detail: SessionDetail, services: Services) -> SessionDetailDocument:
    bucket = services.settings.storage.raw_bucket
    return session_detail_document(detail, services.store, bucket=bucket)
