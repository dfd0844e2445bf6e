"""Publishing an import: its sessions enter the catalogue in the transaction of the job's success."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.orm import DeclarativeBase, Session

from heimdall_core.catalogue.import_report import ImportedRecording, ImportedSession, ImportReport
from heimdall_core.catalogue.import_result import MAX_LISTED, result_of
from heimdall_core.catalogue.receiver_places import MOVED_M
from heimdall_core.catalogue.receivers import lock_receivers
from heimdall_core.database.catalogue_tables import SessionArchive, SessionImport
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.recordings.geodesy import distance_m
from heimdall_core.recordings.session import ReceiverSite, Source

_NAME_CHARS = 255
_BATCH = 1000


def publish_import(
    session: Session, report: ImportReport, *, job_id: str, auto_approve: bool
) -> dict[str, Any]:
    """Catalogues what the import accepted and returns the job's result.

    A session whose archive the catalogue has already counts as a duplicate; it belongs to this import too.
    """
    lock_receivers(session)
    known = _known_sessions(session, [imported.sha256 for imported in report.sessions])
    fresh = [imported for imported in report.sessions if imported.sha256 not in known]
    stations, warnings = _ensure_stations(session, fresh)
    sources = _ensure_sources(session, fresh)
    added = _insert_sessions(
        session, fresh, stations=stations, sources=sources, job_id=job_id, auto_approve=auto_approve
    )
    brought = [*added, *known.values()]
    _insert(session, SessionImport, [{"job_id": job_id, "session_id": i} for i in brought])
    return result_of(
        accepted=len(fresh),
        session_count=len(brought),
        duplicates=len(report.duplicates) + len(known),
        refused=report.refused,
        warnings=warnings,
    ) | {"known": _told_known(report, known)}


def _told_known(report: ImportReport, known: Mapping[str, UUID]) -> list[dict[str, str]]:
    """Which file brought which session of the catalogue again; the first ones."""
    again = (
        {"file": one.file, "session_id": str(known[one.sha256])}
        for one in report.sessions
        if one.sha256 in known
    )
    return list(islice(again, MAX_LISTED))


def _known_sessions(session: Session, checksums: Sequence[str]) -> dict[str, UUID]:
    """The sessions of those archives that the catalogue has."""
    known: dict[str, UUID] = {}
    for batch in _batches(checksums):
        statement = select(SessionArchive.sha256, SessionArchive.session_id)
        rows = session.execute(statement.where(SessionArchive.sha256.in_(batch)))
        known |= {row.sha256: row.session_id for row in rows}
    return known


def _ensure_stations(
    session: Session, imported: Iterable[ImportedSession]
) -> tuple[dict[str, UUID], list[dict[str, Any]]]:
    """The id of each receiver, new ones added; and a warning for each that seems to have moved."""
    sites: dict[str, ReceiverSite] = {}
    for one in imported:
        for site in one.receivers:
            sites.setdefault(site.name, site)
    known = {
        station.name: station
        for station in session.scalars(select(Station).where(Station.name.in_(sorted(sites))))
    }
    fresh = [_station(site) for name, site in sites.items() if name not in known]
    if fresh:
        # Not by COPY, which does not cast: a platform may keep whole metres.
        session.execute(insert(Station), fresh)
    warnings = [w for name, station in known.items() if (w := _moved(station, sites[name]))]
    ids = {name: station.id for name, station in known.items()}
    return ids | {row["name"]: row["id"] for row in fresh}, warnings


def _station(site: ReceiverSite) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "name": site.name,
        "url": "",
        "latitude": site.latitude,
        "longitude": site.longitude,
        "altitude_asl": site.altitude_m,
    }


def _moved(station: Station, site: ReceiverSite) -> dict[str, Any] | None:
    away_m = float(distance_m(station.latitude, station.longitude, site.latitude, site.longitude))
    if away_m <= MOVED_M:
        return None
    return {
        "code": "receiver_moved",
        "receiver": site.name,
        "message": f"{site.name} is stated {away_m:.0f} m from where the catalogue has it; "
        "the catalogue's position was kept",
        "hint": "Give a receiver that moved a new name.",
    }


def _ensure_sources(session: Session, imported: Iterable[ImportedSession]) -> dict[tuple[object, ...], UUID]:
    """The id of each known source, new ones added."""
    wanted = {_source_key(one.source): one.source for one in imported}
    ids: dict[tuple[object, ...], UUID] = {}
    for batch in _batches(sorted({source.name for source in wanted.values()})):
        for row in session.scalars(select(KnownSource).where(KnownSource.name.in_(batch))):
            if row.frequency_hz is not None and row.latitude is not None and row.longitude is not None:
                ids.setdefault(_place_key(row.name, row.frequency_hz, row.latitude, row.longitude), row.id)
    fresh = {key: _source(source) for key, source in wanted.items() if key not in ids}
    _insert(session, KnownSource, list(fresh.values()))
    return ids | {key: row["id"] for key, row in fresh.items()}


def _source_key(source: Source) -> tuple[object, ...]:
    return _place_key(source.name, round(source.frequency_hz), source.latitude, source.longitude)


def _place_key(name: str, frequency_hz: int, latitude: float, longitude: float) -> tuple[object, ...]:
    """Sources of one name are one if frequency and place (to 0.1 m) agree."""
    return name, frequency_hz, round(latitude, 6), round(longitude, 6)


def _source(source: Source) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "name": source.name,
        "frequency_hz": round(source.frequency_hz),
        "latitude": source.latitude,
        "longitude": source.longitude,
        "power_dbm": source.power_dbm,
        "error_margin_meters": source.error_margin_m,
    }


def _insert_sessions(
    session: Session,
    imported: Sequence[ImportedSession],
    *,
    stations: Mapping[str, UUID],
    sources: Mapping[tuple[object, ...], UUID],
    job_id: str,
    auto_approve: bool,
) -> list[UUID]:
    ids = [uuid4() for _ in imported]
    approval = "approved" if auto_approve else "pending"
    named = list(zip(ids, imported, strict=True))
    rows = [_session_row(i, one, sources[_source_key(one.source)], approval) for i, one in named]
    _insert(session, RecordingSession, rows)
    _insert(session, SessionArchive, [_archive_row(i, one, job_id) for i, one in named])
    measurements = [
        _measurement_row(i, recording, stations[recording.receiver])
        for i, one in named
        for recording in one.recordings
    ]
    _insert(session, Measurement, measurements)
    return ids


def _session_row(
    session_id: UUID, imported: ImportedSession, source_id: UUID, approval: str
) -> dict[str, Any]:
    return {
        "id": session_id,
        "known_source_id": source_id,
        "session_name": imported.name[:_NAME_CHARS],
        "session_start": imported.started_at,
        "session_end": imported.started_at + timedelta(seconds=imported.duration_seconds),
        "duration_seconds": imported.duration_seconds,
        "status": "completed",
        "approval_status": approval,
    }


def _archive_row(session_id: UUID, imported: ImportedSession, job_id: str) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "uri": imported.uri,
        "sha256": imported.sha256,
        "num_bytes": imported.num_bytes,
        "import_job_id": job_id,
        "split_group": imported.split_group,
    }


def _measurement_row(session_id: UUID, recording: ImportedRecording, station_id: UUID) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "websdr_station_id": station_id,
        "timestamp": recording.started_at,
        "frequency_hz": round(recording.center_frequency_hz),
        "snr_db": recording.snr_db,
        "iq_data_location": recording.uri,
        "iq_data_format": recording.format,
        "iq_sample_rate": round(recording.sample_rate_hz),
        "iq_samples_count": recording.num_samples,
        "duration_seconds": recording.duration_seconds,
        "recording_session_id": session_id,
        "iq_sha256": recording.sha256,
        "iq_byte_offset": recording.offset,
        "iq_num_bytes": recording.num_bytes,
        "noise_floor_dbfs": recording.noise_floor_dbfs,
    }


def _insert(session: Session, table: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows of equal keys by COPY, which takes tens of thousands in a second."""
    if not rows:
        return
    session.flush()
    driver = session.connection().connection.driver_connection
    assert driver is not None
    target = session.connection().dialect.identifier_preparer.format_table(table.__table__)
    with driver.cursor().copy(f"copy {target} ({', '.join(rows[0])}) from stdin") as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))


def _batches(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _BATCH] for start in range(0, len(values), _BATCH))
