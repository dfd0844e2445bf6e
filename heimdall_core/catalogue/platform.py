"""Taking over recording sessions that the platform made: its rows stay its own, ours only describe them."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from annotated_types import MaxLen, MinLen
from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from heimdall_core.catalogue.platform_matching import (
    FREQUENCY_TOLERANCE_HZ,
    PlatformRow,
    SessionWindow,
    group_rows,
    match_rows,
)
from heimdall_core.catalogue.platform_report import PlatformPlan
from heimdall_core.catalogue.session_filters import any_uuid, started_within
from heimdall_core.catalogue.uploads import MAX_FILES, SubmitImport
from heimdall_core.database.catalogue_tables import SessionArchive, Upload
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.domain.errors import FieldProblem, InvalidRequest, NotFound
from heimdall_core.domain.spec import STRICT, ImportJobSpec
from heimdall_core.recordings.refusal import Refusal

#: How the platform's recorder says that a session is not there to be used.
_UNUSABLE_STATUSES = {
    "in_progress": ("session_not_finished", "is being recorded"),
    "recording": ("session_not_finished", "is being recorded"),
    "failed": ("session_failed", "its recording failed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImport:
    """Which of the platform's sessions to take over: those named, or those of a time, or all."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    session_ids: Annotated[tuple[UUID, ...], MinLen(1), MaxLen(10_000)] | None = None
    started_after: datetime | None = None
    """The session began then or later; without an offset: UTC."""
    started_before: datetime | None = None
    """The session began earlier."""


def import_platform_sessions(
    session: Session, request: PlatformImport, *, bucket: str, owner: str, submit: SubmitImport
) -> Job:
    """Queues the reading of the recordings that no import has described yet.

    Args:
        session: the transaction of the request.
        request: which sessions.
        bucket: where the platform's recorder stores its objects.
        owner: whose job it becomes.
        submit: queues the job.

    Raises:
        InvalidRequest: sessions were named in two ways, or there are too many recordings for one job.
        NotFound: no such session; nothing was queued.
    """
    plan = plan_takeover(session, request, bucket=bucket)
    upload = Upload(
        id=new_id("upl"),
        owner=owner,
        files=[
            {"name": one.name, "uri": one.uri, "num_bytes": None, "sha256": None} for one in plan.recordings
        ],
        options={"platform": plan.to_dict()},
        completed_at=func.now(),
    )
    session.add(upload)
    session.flush()
    job = submit(session, ImportJobSpec(kind="import", upload_id=upload.id), owner=owner)
    upload.job_id = job.id
    session.flush()
    return job


def plan_takeover(session: Session, request: PlatformImport, *, bucket: str) -> PlatformPlan:
    """What there is to take over.

    Raises:
        InvalidRequest: sessions were named in two ways, or there are too many recordings for one job.
        NotFound: a named session does not exist.
    """
    _check(request)
    chosen = session.execute(_chosen(request)).all()
    _check_exist(request, chosen)
    usable = [row for row in chosen if not row.is_archived and _hindrance(row) is None]
    ids = [row.id for row in usable]
    windows = _windows(session, usable)
    described = _described(session, ids)
    matching = match_rows(_rows(session, ids, windows), windows, bucket=bucket, described=described)
    if len(matching.recordings) > MAX_FILES:
        raise _too_many(len(matching.recordings))
    served = {one.session_id for one in matching.recordings} | {session_id for session_id, _ in described}
    left_out = [(row, why) for row in chosen if (why := _why_left_out(row, served)) is not None]
    if request.session_ids is None:
        return PlatformPlan(
            recordings=matching.recordings, refused=matching.refused, warnings=_counted(left_out)
        )
    planned = {one.session_id for one in matching.recordings}
    return PlatformPlan(
        recordings=matching.recordings,
        refused=matching.refused + tuple(why.of(row.session_name) for row, why in left_out),
        known=tuple(
            str(row.id)
            for row in chosen
            if row.is_archived or (str(row.id) in served and str(row.id) not in planned)
        ),
    )


def _check(request: PlatformImport) -> None:
    by_time = [name for name in ("started_after", "started_before") if getattr(request, name) is not None]
    if request.session_ids is not None and by_time:
        problem = FieldProblem(pointer=f"/{by_time[0]}", detail="give either session_ids or a time")
        raise InvalidRequest("name the sessions in one way", problems=(problem,))


def _check_exist(request: PlatformImport, chosen: Sequence[Row[*tuple[Any, ...]]]) -> None:
    known = {row.id for row in chosen}
    problems = tuple(
        FieldProblem(pointer=f"/session_ids/{index}", detail="no such recording session")
        for index, identifier in enumerate(request.session_ids or ())
        if identifier not in known
    )
    if problems:
        raise NotFound("some sessions do not exist", code="session_not_found", problems=problems[:100])


def _too_many(num_recordings: int) -> InvalidRequest:
    return InvalidRequest(
        f"{num_recordings} recordings are more than the {MAX_FILES} that one job takes over",
        code="too_many_recordings",
        hint="Import them in parts: give started_after and started_before.",
        problems=(FieldProblem(pointer="/started_before", detail="narrow the time"),),
    )


def _hindrance(row: Row[*tuple[Any, ...]]) -> Refusal | None:
    """Why a session cannot be matched with recordings."""
    if row.status in _UNUSABLE_STATUSES:
        return Refusal(*_UNUSABLE_STATUSES[row.status])
    if row.ends_at is None:
        return Refusal("no_end", "has neither session_end nor duration_seconds")
    if not row.is_over:
        return Refusal("session_not_finished", "has not ended yet")
    if row.frequency_hz is None or row.latitude is None or row.longitude is None:
        return Refusal("no_source", "has no known source with a position and a frequency")
    return None


def _why_left_out(row: Row[*tuple[Any, ...]], served: Collection[str]) -> Refusal | None:
    if row.is_archived or str(row.id) in served:
        return None
    return _hindrance(row) or Refusal(
        "no_recordings",
        "no recording that can be used lies in its time and at the frequency of its source",
        hint=f"A recording needs IQ, a time in the session, a frequency within {FREQUENCY_TOLERANCE_HZ} Hz.",
    )


def _counted(left_out: Iterable[tuple[Row[*tuple[Any, ...]], Refusal]]) -> tuple[dict[str, Any], ...]:
    """Sessions that nobody named are told by their number."""
    counts = Counter((why.code, why.message, why.hint) for _, why in left_out)
    return tuple(
        {"code": code, "message": f"{count} sessions were left out, each: {message}", "hint": hint}
        for (code, message, hint), count in counts.items()
    )


_ENDS_AT = func.coalesce(
    RecordingSession.session_end,
    RecordingSession.session_start + func.make_interval(0, 0, 0, 0, 0, 0, RecordingSession.duration_seconds),
)
_IS_ARCHIVED = (
    select(SessionArchive.session_id)
    .where(SessionArchive.session_id == RecordingSession.id)
    .correlate(RecordingSession)
    .exists()
)


def _chosen(request: PlatformImport) -> Select[*tuple[Any, ...]]:
    """The sessions that the request means; those that came as archives only if they are named."""
    statement = (
        select(
            RecordingSession.id,
            RecordingSession.session_name,
            RecordingSession.session_start,
            RecordingSession.status,
            _ENDS_AT.label("ends_at"),
            (func.now() >= _ENDS_AT).label("is_over"),
            _IS_ARCHIVED.label("is_archived"),
            KnownSource.frequency_hz,
            KnownSource.latitude,
            KnownSource.longitude,
        )
        .outerjoin(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .order_by(RecordingSession.session_start, RecordingSession.id)
    )
    if request.session_ids is not None:
        return statement.where(RecordingSession.id == any_uuid(request.session_ids))
    return started_within(statement, request.started_after, request.started_before).where(~_IS_ARCHIVED)


def _windows(session: Session, usable: Sequence[Row[*tuple[Any, ...]]]) -> dict[str, SessionWindow]:
    """The usable sessions, and all others that a recording in their time might belong to."""
    if not usable:
        return {}
    chosen = {row.id for row in usable}
    rows = session.execute(
        select(
            RecordingSession.id,
            RecordingSession.session_name,
            RecordingSession.session_start,
            _ENDS_AT.label("ends_at"),
        )
        .join(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .where(
            RecordingSession.session_start <= max(row.ends_at for row in usable),
            min(row.session_start for row in usable) <= _ENDS_AT,
            KnownSource.frequency_hz.is_not(None),
            ~_IS_ARCHIVED,
        )
    )
    return {
        str(row.id): SessionWindow(
            id=str(row.id),
            name=row.session_name,
            starts_at=row.session_start,
            ends_at=row.ends_at,
            is_chosen=row.id in chosen,
        )
        for row in rows
    }


def _described(session: Session, ids: Sequence[UUID]) -> set[tuple[str, str]]:
    """(session, receiver) of the recordings that an import has described."""
    if not ids:
        return set()
    rows = session.execute(
        select(Measurement.recording_session_id, Station.name)
        .join(Station, Station.id == Measurement.websdr_station_id)
        .where(Measurement.recording_session_id == any_uuid(ids), Measurement.iq_sha256.is_not(None))
    )
    return {(str(row.recording_session_id), row.name) for row in rows}


def _rows(
    session: Session, ids: Sequence[UUID], windows: Mapping[str, SessionWindow]
) -> Iterator[PlatformRow]:
    """The recordings with IQ that nobody has described: those linked to the sessions, and those that fit."""
    if not ids:
        return
    linked = _undescribed(Measurement.recording_session_id).where(
        Measurement.recording_session_id == any_uuid(ids)
    )
    fitting = (
        _undescribed(RecordingSession.id)
        .join(
            RecordingSession,
            (Measurement.timestamp >= RecordingSession.session_start) & (Measurement.timestamp <= _ENDS_AT),
        )
        .join(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .where(
            RecordingSession.id == any_uuid([UUID(i) for i in windows]),
            Measurement.recording_session_id.is_(None),
            func.abs(Measurement.frequency_hz - KnownSource.frequency_hz) <= FREQUENCY_TOLERANCE_HZ,
        )
    )
    pairs = ((_row(row), str(row.session_id)) for part in (linked, fitting) for row in session.execute(part))
    yield from group_rows(pairs)


def _undescribed(session_id: InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Measurement.id,
            Measurement.timestamp,
            Measurement.frequency_hz,
            Measurement.iq_data_location,
            Measurement.iq_data_format,
            Measurement.iq_sample_rate,
            Measurement.iq_samples_count,
            Station.name.label("receiver"),
            session_id.label("session_id"),
        )
        .select_from(Measurement)
        .outerjoin(Station, Station.id == Measurement.websdr_station_id)
        .where(Measurement.iq_data_location.is_not(None), Measurement.iq_sha256.is_(None))
    )


def _row(row: Row[*tuple[Any, ...]]) -> PlatformRow:
    return PlatformRow(
        id=str(row.id),
        timestamp=row.timestamp,
        receiver=row.receiver,
        frequency_hz=row.frequency_hz,
        location=row.iq_data_location,
        format=row.iq_data_format,
        sample_rate_hz=row.iq_sample_rate,
        num_samples=row.iq_samples_count,
        session_ids=(),
    )
