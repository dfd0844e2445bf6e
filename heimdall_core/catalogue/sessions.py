"""Recording sessions: reading them, and the approval that lets them train."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast
from uuid import UUID

from annotated_types import MaxLen, MinLen
from sqlalchemy import ColumnElement, CursorResult, Row, Select, any_, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import SessionArchive, SessionImport
from heimdall_core.database.job_tables import Job
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.domain.errors import FieldProblem, InvalidRequest, NotFound
from heimdall_core.domain.spec import STRICT

ApprovalStatus = Literal["pending", "approved", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalChange:
    """A person's judgement of one session."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    approval_status: ApprovalStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """Sessions to approve together: those of an import that are still pending, or those named."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    import_job_id: Annotated[str, MaxLen(64)] | None = None
    ids: Annotated[tuple[UUID, ...], MinLen(1), MaxLen(10_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A session, its source and, if we imported it, its archive."""

    session: RecordingSession
    source: KnownSource
    archive: SessionArchive | None
    num_recordings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session with its recordings: (measurement, receiver), by receiver name."""

    summary: SessionSummary
    recordings: Sequence[tuple[Measurement, Station]]


def list_sessions(
    session: Session,
    *,
    approval_status: str | None = None,
    import_job_id: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[SessionSummary]:
    """Newest first."""
    statement = _summaries()
    if approval_status is not None:
        statement = statement.where(RecordingSession.approval_status == approval_status)
    if import_job_id is not None:
        statement = statement.where(RecordingSession.id.in_(_brought_by(import_job_id)))
    if cursor:
        statement = statement.where(_before(cursor))
    statement = statement.order_by(RecordingSession.created_at.desc(), RecordingSession.id.desc())
    rows = [_summary(row) for row in session.execute(statement.limit(limit + 1))]
    last = rows[limit - 1].session if len(rows) > limit else None
    position = encode_cursor(last.created_at, str(last.id)) if last and last.created_at else None
    return Page(items=rows[:limit], next_cursor=position)


def find_session(session: Session, session_id: UUID) -> SessionDetail:
    """The session with its recordings.

    Raises:
        NotFound: no such session.
    """
    row = session.execute(_summaries().where(RecordingSession.id == session_id)).first()
    if row is None:
        raise _no_session(session_id)
    recordings = session.execute(
        select(Measurement, Station)
        .join(Station, Station.id == Measurement.websdr_station_id)
        .where(Measurement.recording_session_id == session_id)
        .order_by(Station.name)
    )
    return SessionDetail(summary=_summary(row), recordings=[(m, s) for m, s in recordings])


def set_approval(session: Session, session_id: UUID, status: ApprovalStatus) -> SessionDetail:
    """Judges one session. Versions frozen before keep what they have.

    Raises:
        NotFound: no such session.
    """
    _judge(session, RecordingSession.id == session_id, status)
    session.expire_all()
    return find_session(session, session_id)


def approve_sessions(session: Session, request: ApprovalRequest) -> int:
    """Approves several; returns how many were not approved before.

    Raises:
        InvalidRequest: not exactly one of the two ways to name sessions was used.
        NotFound: no such import job or session; nothing was changed.
    """
    if (request.import_job_id is None) == (request.ids is None):
        problem = FieldProblem(pointer="/import_job_id", detail="give either import_job_id or ids")
        raise InvalidRequest("name the sessions in one way", problems=(problem,))
    if request.ids is not None:
        _check_exist(session, request.ids)
        return _judge(session, RecordingSession.id == _any_uuid(request.ids), "approved")
    _check_import(session, request.import_job_id)
    assert request.import_job_id is not None
    pending = RecordingSession.approval_status == "pending"
    return _judge(session, RecordingSession.id.in_(_brought_by(request.import_job_id)) & pending, "approved")


def _brought_by(import_job_id: str) -> Select[UUID]:
    return select(SessionImport.session_id).where(SessionImport.job_id == import_job_id)


def _judge(session: Session, which: ColumnElement[bool], status: ApprovalStatus) -> int:
    statement = (
        update(RecordingSession)
        .where(which, RecordingSession.approval_status.is_distinct_from(status))
        .values(approval_status=status, updated_at=func.now())
    )
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def _check_exist(session: Session, ids: Sequence[UUID]) -> None:
    known = set(session.scalars(select(RecordingSession.id).where(RecordingSession.id == _any_uuid(ids))))
    problems = tuple(
        FieldProblem(pointer=f"/ids/{index}", detail="no such recording session")
        for index, identifier in enumerate(ids)
        if identifier not in known
    )
    if problems:
        raise NotFound("some sessions do not exist", code="session_not_found", problems=problems[:100])


def _check_import(session: Session, job_id: str | None) -> None:
    if session.scalar(select(Job.id).where(Job.id == job_id, Job.kind == "import")) is None:
        problem = FieldProblem(pointer="/import_job_id", detail="use the id of an import job")
        raise NotFound(f"no import job {job_id!r}", code="job_not_found", problems=(problem,))


def _any_uuid(ids: Sequence[UUID]) -> ColumnElement[Any]:
    """One parameter however many ids there are."""
    return any_(literal(list(ids), ARRAY(UUID_TYPE(as_uuid=True))))


def _summaries() -> Select[*tuple[Any, ...]]:
    num_recordings = (
        select(func.count())
        .where(Measurement.recording_session_id == RecordingSession.id)
        .correlate(RecordingSession)
        .scalar_subquery()
    )
    return (
        select(RecordingSession, KnownSource, SessionArchive, num_recordings)
        .join(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .outerjoin(SessionArchive, SessionArchive.session_id == RecordingSession.id)
    )


def _summary(row: Row[*tuple[Any, ...]]) -> SessionSummary:
    return SessionSummary(session=row[0], source=row[1], archive=row[2], num_recordings=row[3])


def _before(cursor: str) -> ColumnElement[bool]:
    created_at, identifier = decode_cursor(cursor)
    try:
        key = UUID(identifier)
    except ValueError as error:
        raise InvalidRequest("the cursor is not valid") from error
    return tuple_(RecordingSession.created_at, RecordingSession.id) < (created_at, key)


def _no_session(session_id: UUID) -> NotFound:
    return NotFound(
        f"no recording session {session_id}",
        code="session_not_found",
        hint="GET /v1/recording-sessions lists them",
    )
