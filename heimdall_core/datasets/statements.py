"""A query in SQL: one statement finds its sessions, one reads the recordings of those that count."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE

from heimdall_core.database.arrays import any_texts, any_uuids
from heimdall_core.database.catalogue_tables import SessionArchive, SessionImport
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.datasets.definition import Region, SessionQuery
from heimdall_core.datasets.region import bounds_of


def matching_sessions(query: SessionQuery) -> Select[*tuple[Any, ...]]:
    """Sessions of any approval status with their source, in order of time.

    Of a circle only its bounding box is asked for, and of recordings nothing.
    """
    return (
        select(
            RecordingSession.id,
            RecordingSession.session_start,
            RecordingSession.approval_status,
            SessionArchive.split_group,
            KnownSource.name,
            KnownSource.latitude,
            KnownSource.longitude,
            KnownSource.frequency_hz,
        )
        .join(KnownSource, KnownSource.id == RecordingSession.known_source_id)
        .outerjoin(SessionArchive, SessionArchive.session_id == RecordingSession.id)
        .where(*_of_session(query), *_of_source(query))
        .order_by(RecordingSession.session_start, RecordingSession.id)
    )


def recordings_of(session_ids: Sequence[UUID], query: SessionQuery) -> Select[*tuple[Any, ...]]:
    """What the selected receivers recorded of these sessions, earliest first."""
    # unnest is joined by hash; an array compared with ANY may be searched once for every row of the table.
    ids = literal(list(session_ids), ARRAY(UUID_TYPE(as_uuid=True)))
    chosen = func.unnest(ids).table_valued("id", name="chosen").render_derived()
    statement = (
        select(
            Measurement.recording_session_id,
            Measurement.websdr_station_id,
            Measurement.snr_db,
            Measurement.iq_data_format,
            Measurement.iq_data_location,
            Measurement.iq_sha256,
            Measurement.iq_byte_offset,
            Measurement.iq_num_bytes,
            Measurement.iq_sample_rate,
            Measurement.frequency_hz,
            Measurement.noise_floor_dbfs,
        )
        .join(chosen, chosen.c.id == Measurement.recording_session_id)
        .join(Station, Station.id == Measurement.websdr_station_id)
        .order_by(Measurement.timestamp, Measurement.id)
    )
    if query.receivers is not None:
        statement = statement.where(Station.name == any_texts(query.receivers))
    return statement


def _of_session(query: SessionQuery) -> Iterator[ColumnElement[bool]]:
    if query.import_job_ids is not None:
        brought = select(SessionImport.session_id).where(
            SessionImport.job_id == any_texts(query.import_job_ids)
        )
        yield RecordingSession.id.in_(brought)
    if query.session_ids is not None:
        yield RecordingSession.id == any_uuids(query.session_ids)
    if query.started_after is not None:
        yield RecordingSession.session_start >= query.started_after
    if query.started_before is not None:
        yield RecordingSession.session_start < query.started_before


def _of_source(query: SessionQuery) -> Iterator[ColumnElement[bool]]:
    if query.min_frequency_hz is not None:
        yield KnownSource.frequency_hz >= query.min_frequency_hz
    if query.max_frequency_hz is not None:
        yield KnownSource.frequency_hz <= query.max_frequency_hz
    if query.sources is not None:
        yield KnownSource.name == any_texts(query.sources)
    if query.region is not None:
        yield _within(query.region)


def _within(region: Region) -> ColumnElement[bool]:
    box = bounds_of(region)
    of_west, of_east = KnownSource.longitude >= box.min_longitude, KnownSource.longitude <= box.max_longitude
    crosses = box.min_longitude > box.max_longitude
    return KnownSource.latitude.between(box.min_latitude, box.max_latitude) & (
        or_(of_west, of_east) if crosses else of_west & of_east
    )
