"""Recording sessions: reading them, and the approval that lets them train."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, cast
from uuid import UUID

from annotated_types import MaxLen, MinLen
from sqlalchemy import ColumnElement, CursorResult, Row, Select, func, select, tuple_, update
from sqlalchemy.orm import Session

from heimdall_core.catalogue.session_filters import has_approval, started_within
from heimdall_core.catalogue.session_flags import SessionFlag, count_recordings, flags_of, has_flag
from heimdall_core.database.arrays import any_uuids
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
    """Sessions to judge together: those of an import that are still pending, or those named."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    import_job_id: Annotated[str, MaxLen(64)] | None = None
    ids: Annotated[tuple[UUID, ...], MinLen(1), MaxLen(10_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions to list."""

    approval_status: str | None = None
    import_job_id: str | None = None
    source: str | None = None
    """Name of the known source."""
    started_after: datetime | None = None
    """The session began then or later."""
    started_before: datetime | None = None
    """The session began earlier."""
    flag: SessionFlag | None = None
    """Something to look at before the session is approved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A session, its source if it is known, and its archive if it came as one."""

    session: RecordingSession
    source: KnownSource | None
    archive: SessionArchive | None
    num_recordings: int
    """Those that are described: the others cannot train."""
    import_job_id: str | None
    """The import that brought it first."""
    flags: tuple[SessionFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session with its recordings: (measurement, receiver), by receiver name."""

    summary: SessionSummary
    recordings: Sequence[tuple[Measurement, Station]]


def list_sessions(
    session: Session, wanted: SessionFilter, *, cursor: str | None, limit: int
) -> Page[SessionSummary]:
    """Newest first."""
    statement = _filtered(_summaries(), wanted)
    if cursor:
        statement = statement.where(_before(cursor))
    statement = statement.order_by(_CREATED_AT.desc(), RecordingSession.id.desc())
    rows = session.execute(statement.limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    position = encode_cursor(last.created_at, str(last[0].id)) if last else None
    return Page(items=_with_numbers(session, rows[:limit]), next_cursor=position)


def _filtered(statement: Select[*tuple[Any, ...]], wanted: SessionFilter) -> Select[*tuple[Any, ...]]:
    if wanted.approval_status is not None:
        statement = statement.where(has_approval(wanted.approval_status))
    if wanted.import_job_id is not None:
        statement = statement.where(RecordingSession.id.in_(_brought_by(wanted.import_job_id)))
    if wanted.source is not None:
        statement = statement.where(KnownSource.name == wanted.source)
    if wanted.flag is not None:
        statement = statement.where(has_flag(wanted.flag))
    return started_within(statement, wanted.started_after, wanted.started_before)


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
        .where(Measurement.recording_session_id == session_id, Measurement.iq_sha256.is_not(None))
        .order_by(Station.name)
    )
    (summary,) = _with_numbers(session, [row])
    return SessionDetail(summary=summary, recordings=[(m, s) for m, s in recordings])


def hold_session(session: Session, session_id: UUID) -> None:
    """Keeps others from judging the session until the transaction ends."""
    session.execute(select(RecordingSession.id).where(RecordingSession.id == session_id).with_for_update())


def set_approval(session: Session, session_id: UUID, status: ApprovalStatus) -> SessionDetail:
    """Judges one session. Versions frozen before keep what they have.

    Raises:
        NotFound: no such session.
    """
    _judge(session, RecordingSession.id == session_id, status)
    session.expire_all()
    return find_session(session, session_id)


def approve_sessions(session: Session, request: ApprovalRequest) -> int:
    """Approves several; returns how many were not approved before. Raises as ``judge_sessions``."""
    return judge_sessions(session, request, "approved")


def judge_sessions(session: Session, request: ApprovalRequest, status: ApprovalStatus) -> int:
    """Gives several sessions a status; returns how many had another before.

    Raises:
        InvalidRequest: not exactly one of the two ways to name sessions was used.
        NotFound: no such import job or session; nothing was changed.
    """
    if (request.import_job_id is None) == (request.ids is None):
        problem = FieldProblem(pointer="/import_job_id", detail="give either import_job_id or ids")
        raise InvalidRequest("name the sessions in one way", problems=(problem,))
    if request.ids is not None:
        _check_exist(session, request.ids)
        return _judge(session, RecordingSession.id == any_uuids(request.ids), status)
    _check_import(session, request.import_job_id)
    assert request.import_job_id is not None
    brought = RecordingSession.id.in_(_brought_by(request.import_job_id))
    return _judge(session, brought & has_approval("pending"), status)


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
    known = set(session.scalars(select(RecordingSession.id).where(RecordingSession.id == any_uuids(ids))))
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


#: The platform may leave the time of creation open.
_CREATED_AT = func.coalesce(RecordingSession.created_at, RecordingSession.session_start)
_FIRST_IMPORT = (
    select(SessionImport.job_id)
    .join(Job, Job.id == SessionImport.job_id)
    .where(SessionImport.session_id == RecordingSession.id)
    .order_by(Job.created_at, Job.id)
    .limit(1)
    .correlate(RecordingSession)
    .scalar_subquery()
)


def _summaries() -> Select[*tuple[Any, ...]]:
    """The platform's sessions may lack a source, and have no archive."""
    return (
        select(
            RecordingSession,
            KnownSource,
            SessionArchive,
            func.coalesce(SessionArchive.import_job_id, _FIRST_IMPORT).label("import_job_id"),
            _CREATED_AT.label("created_at"),
        )
        .outerjoin(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .outerjoin(SessionArchive, SessionArchive.session_id == RecordingSession.id)
    )


def _with_numbers(session: Session, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[SessionSummary]:
    """Counts the recordings of all at once: the platform's table need not have an index for it."""
    heard = count_recordings(session, [row[0].id for row in rows])
    return [
        SessionSummary(
            session=row[0],
            source=row[1],
            archive=row[2],
            num_recordings=heard[row[0].id].num_recordings,
            import_job_id=row.import_job_id,
            flags=flags_of(row[1], heard[row[0].id]),
        )
        for row in rows
    ]


def _before(cursor: str) -> ColumnElement[bool]:
    created_at, identifier = decode_cursor(cursor)
    try:
        key = UUID(identifier)
    except ValueError as error:
        raise InvalidRequest("the cursor is not valid") from error
    return tuple_(_CREATED_AT, RecordingSession.id) < (created_at, key)


def _no_session(session_id: UUID) -> NotFound:
    return NotFound(
        f"no recording session {session_id}",
        code="session_not_found",
        hint="GET /v1/recording-sessions lists them",
    )
