"""The approved sessions of a query, with their recordings: read in two statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Text, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import SessionArchive, SessionImport
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.datasets.definition import SessionQuery
from heimdall_core.domain.manifest import IqFormat, ManifestReceiver, ManifestRecording


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedSession:
    """An approved session before it has a split."""

    id: str
    source: str
    latitude: float
    longitude: float
    frequency_hz: float
    started_at: str
    group: str | None
    recordings: tuple[ManifestRecording, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Sessions by time, and the receivers that heard them, by name."""

    sessions: Sequence[SelectedSession]
    receivers: tuple[ManifestReceiver, ...]


def select_sessions(session: Session, query: SessionQuery) -> Selection:
    """Everything that the query finds and a person has approved."""
    recordings: dict[UUID, list[ManifestRecording]] = {}
    receivers: dict[str, ManifestReceiver] = {}
    for row in session.execute(_recordings_of(query)):
        receivers.setdefault(row.name, _receiver(row))
        recordings.setdefault(row.recording_session_id, []).append(_recording(row))
    sessions = [
        _session(row, recordings[row.id])
        for row in session.execute(_sessions_of(query))
        if row.id in recordings
    ]
    return Selection(sessions=sessions, receivers=tuple(receivers[name] for name in sorted(receivers)))


def _sessions_of(query: SessionQuery) -> Select[*tuple[Any, ...]]:
    statement = (
        select(
            RecordingSession.id,
            RecordingSession.session_start,
            SessionArchive.split_group,
            KnownSource.name,
            KnownSource.latitude,
            KnownSource.longitude,
            KnownSource.frequency_hz,
        )
        .join(SessionArchive, SessionArchive.session_id == RecordingSession.id)
        .join(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .order_by(RecordingSession.session_start, RecordingSession.id)
    )
    return _restricted(statement, query)


def _recordings_of(query: SessionQuery) -> Select[*tuple[Any, ...]]:
    statement = (
        select(
            Measurement.recording_session_id,
            Measurement.frequency_hz,
            Measurement.iq_data_location,
            Measurement.iq_data_format,
            Measurement.iq_sample_rate,
            Measurement.iq_sha256,
            Measurement.iq_byte_offset,
            Measurement.iq_num_bytes,
            Measurement.noise_floor_dbfs,
            Station.name,
            Station.latitude,
            Station.longitude,
            Station.altitude_asl,
        )
        .join(RecordingSession, RecordingSession.id == Measurement.recording_session_id)
        .join(SessionArchive, SessionArchive.session_id == RecordingSession.id)
        .join(Station, Station.id == Measurement.websdr_station_id)
        .order_by(Measurement.recording_session_id, Station.name)
    )
    return _restricted(statement, query)


def _restricted(statement: Select[*tuple[Any, ...]], query: SessionQuery) -> Select[*tuple[Any, ...]]:
    statement = statement.where(RecordingSession.approval_status == "approved")
    if query.import_job_ids is not None:
        jobs = literal(list(query.import_job_ids), ARRAY(Text))
        brought = select(SessionImport.session_id).where(SessionImport.job_id == any_(jobs))
        statement = statement.where(RecordingSession.id.in_(brought))
    if query.session_ids is not None:
        ids = literal(list(query.session_ids), ARRAY(UUID_TYPE(as_uuid=True)))
        statement = statement.where(RecordingSession.id == any_(ids))
    return statement


def _receiver(row: Row[*tuple[Any, ...]]) -> ManifestReceiver:
    return ManifestReceiver(
        name=row.name,
        latitude=row.latitude,
        longitude=row.longitude,
        altitude_m=row.altitude_asl or 0.0,
    )


def _recording(row: Row[*tuple[Any, ...]]) -> ManifestRecording:
    iq_format: IqFormat = row.iq_data_format
    return ManifestRecording(
        receiver=row.name,
        uri=row.iq_data_location,
        offset=row.iq_byte_offset,
        num_bytes=row.iq_num_bytes,
        sha256=row.iq_sha256,
        format=iq_format,
        sample_rate_hz=float(row.iq_sample_rate),
        center_frequency_hz=float(row.frequency_hz),
        noise_floor_dbfs=row.noise_floor_dbfs,
    )


def _session(row: Row[*tuple[Any, ...]], recordings: Sequence[ManifestRecording]) -> SelectedSession:
    started_at: datetime = row.session_start
    return SelectedSession(
        id=str(row.id),
        source=row.name,
        latitude=row.latitude,
        longitude=row.longitude,
        frequency_hz=float(row.frequency_hz),
        started_at=started_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        group=row.split_group,
        recordings=tuple(recordings),
    )
