"""Recording sessions, their approval, and what the network sees of them."""

from datetime import datetime
from typing import Annotated, Any, Final
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
    RejectionResult,
    SessionDetailDocument,
    SessionDocument,
    session_detail_document,
    session_document,
)
from api.schemas.spectrograms import SpectrogramDocument, SpectrogramPending
from api.services import Services
from api.spectrograms import SessionSpectrograms
from heimdall_core.catalogue.platform import PlatformImport, import_platform_sessions
from heimdall_core.catalogue.session_flags import SessionFlag
from heimdall_core.catalogue.sessions import (
    ApprovalChange,
    ApprovalRequest,
    ApprovalStatus,
    SessionDetail,
    SessionFilter,
    approve_sessions,
    find_session,
    hold_session,
    judge_sessions,
    list_sessions,
    set_approval,
)
from heimdall_core.jobs.submission import submit_job

router = APIRouter(prefix="/v1/recording-sessions", tags=["recordings"])

POLL_SECONDS: Final = 1
PENDING: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": SpectrogramPending,
        "description": "It is being made: ask again after `Retry-After` seconds.",
    }
}


@router.get("", dependencies=[needs("recordings:read")])
def list_recording_sessions(
    session: Transaction,
    approval_status: ApprovalStatus | None = None,
    import_job_id: Annotated[str | None, Query(max_length=64)] = None,
    source: Annotated[str | None, Query(max_length=255, description="Name of the known source.")] = None,
    started_after: Annotated[datetime | None, Query(description="Began then or later.")] = None,
    started_before: Annotated[datetime | None, Query(description="Began earlier.")] = None,
    flag: Annotated[SessionFlag | None, Query(description="One of `flags`.")] = None,
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
        flag=flag,
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


@router.get(
    "/{session_id}/spectrogram",
    response_model=SpectrogramDocument,
    dependencies=[needs("recordings:read")],
    responses=NOT_MODIFIED | PENDING,
)
def read_session_spectrogram(
    session_id: UUID,
    spectrograms: SessionSpectrograms,
    conditional: Annotated[Conditional, Depends()],
    segment: Annotated[int, Query(ge=0, le=100_000, description="From 0; a long session has several.")] = 0,
) -> Response:
    """What each receiver heard, as the network sees it; a worker makes it when it is asked for first."""
    found = spectrograms.find(session_id, segment)
    if found is None:
        body = SpectrogramPending().model_dump_json()
        headers = {"Retry-After": str(POLL_SECONDS), "Cache-Control": "no-store"}
        return Response(body, status_code=202, headers=headers, media_type="application/json")
    return conditional.answer(found)


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


@router.post(":reject", dependencies=[needs("recordings:write")])
def reject_recording_sessions(request: ApprovalRequest, session: Transaction) -> RejectionResult:
    """Rejects the pending sessions of an import, or those named by `ids`; what was frozen stays."""
    return RejectionResult(rejected=judge_sessions(session, request, "rejected"))


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
