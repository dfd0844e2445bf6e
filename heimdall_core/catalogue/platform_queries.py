"""The platform's sessions, and the recordings that may belong to them: the reading half of a takeover."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from heimdall_core.catalogue.platform_matching import (
    FREQUENCY_TOLERANCE_HZ,
    PlatformRow,
    SessionWindow,
    group_rows,
)
from heimdall_core.catalogue.session_filters import started_within
from heimdall_core.database.arrays import any_uuids
from heimdall_core.database.catalogue_tables import SessionArchive
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station

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


def select_sessions(
    session: Session, *, ids: Sequence[UUID] | None, after: datetime | None, before: datetime | None
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The sessions of these ids, else those of the time that did not come as archives."""
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
    if ids is not None:
        return session.execute(statement.where(RecordingSession.id == any_uuids(ids))).all()
    return session.execute(started_within(statement, after, before).where(~_IS_ARCHIVED)).all()


def session_windows(session: Session, usable: Sequence[Row[*tuple[Any, ...]]]) -> dict[str, SessionWindow]:
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


def described_recordings(session: Session, ids: Sequence[UUID]) -> set[tuple[str, str]]:
    """(session, receiver) of the recordings that an import has described."""
    if not ids:
        return set()
    rows = session.execute(
        select(Measurement.recording_session_id, Station.name)
        .join(Station, Station.id == Measurement.websdr_station_id)
        .where(Measurement.recording_session_id == any_uuids(ids), Measurement.iq_sha256.is_not(None))
    )
    return {(str(row.recording_session_id), row.name) for row in rows}


def possible_recordings(
    session: Session, ids: Sequence[UUID], windows: Mapping[str, SessionWindow]
) -> Iterator[PlatformRow]:
    """The recordings with IQ that nobody has described: those linked to the sessions, and those that fit."""
    if not ids:
        return
    linked = _undescribed(Measurement.recording_session_id).where(
        Measurement.recording_session_id == any_uuids(ids)
    )
    fitting = (
        _undescribed(RecordingSession.id)
        .join(
            RecordingSession,
            (Measurement.timestamp >= RecordingSession.session_start) & (Measurement.timestamp <= _ENDS_AT),
        )
        .join(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .where(
            RecordingSession.id == any_uuids([UUID(i) for i in windows]),
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
