"""The sessions of a query, with their recordings: read in two statements, judged one by one."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from heimdall_core.database.platform_tables import Station
from heimdall_core.datasets.assembling import SelectedSession, Selection
from heimdall_core.datasets.definition import SessionQuery
from heimdall_core.datasets.query_names import check_names
from heimdall_core.datasets.region import inside_circle
from heimdall_core.datasets.statements import matching_sessions, recordings_of
from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import IqFormat, ManifestReceiver, ManifestRecording
from heimdall_core.storage.uri import object_uri, split_uri

_FORMATS: Mapping[str, IqFormat] = {name: name for name in get_args(IqFormat)} | {"npy": "cf32_le"}
"""Formats of the catalogue, as a manifest tells them: the samples of an npy file are complex64."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """One receiver's recording of a session, and its SNR if known, dB."""

    recording: ManifestRecording
    snr_db: float | None


def select_sessions(session: Session, query: SessionQuery, *, raw_bucket: str) -> Selection:
    """Everything that the query finds.

    Args:
        session: the transaction.
        query: what to look for.
        raw_bucket: where recordings lie, and the bare keys of a platform's catalogue; none elsewhere count.

    Raises:
        InvalidRequest: the query names a receiver, source, session or import that does not exist.
    """
    check_names(session, query)
    found = _in_region(session.execute(matching_sessions(query)).all(), query)
    of_status, left_out = _with_status(found, query)
    asked = [row for row in of_status if None not in (row.latitude, row.longitude, row.frequency_hz)]
    if len(asked) < len(of_status):
        left_out["incomplete_source"] = len(of_status) - len(asked)
    stations = {row.id: row for row in session.scalars(select(Station))}
    recordings = _Recordings(stations, raw_bucket)
    recordings.add_all(session.execute(recordings_of([row.id for row in asked], query)))
    chosen = []
    for row in asked:
        heard = recordings.of(row.id)
        if reason := _shortcoming(heard, query, any_unusable=row.id in recordings.unverified):
            left_out[reason] += 1
        else:
            chosen.append(_session(row, heard))
    return Selection(
        sessions=chosen,
        receivers=_receivers(chosen, stations.values()),
        left_out=left_out,
        recordings_left_out={
            "unverified": sum(recordings.unverified.values()),
            "repeated": recordings.num_repeated,
        },
    )


class _Recordings:
    """The usable recordings of each session, one for a receiver; the others are counted."""

    def __init__(self, stations: Mapping[UUID, Station], raw_bucket: str) -> None:
        self._raw_bucket = raw_bucket
        self._names = {identifier: station.name for identifier, station in stations.items()}
        self._heard: dict[UUID, dict[str, _Heard]] = {}
        self.unverified: Counter[UUID] = Counter()
        self.num_repeated = 0

    def add_all(self, rows: Iterable[Row[*tuple[Any, ...]]]) -> None:
        """Takes rows of ``recordings_of``, earliest first."""
        for session_id, station_id, snr_db, iq_format, *described in rows:
            receiver = self._names[station_id]
            if iq_format not in _FORMATS or None in described[:5]:
                self.unverified[session_id] += 1
                continue
            heard = self._heard.setdefault(session_id, {})
            if receiver in heard:
                self.num_repeated += 1
                continue
            location, *rest = described
            uri = self._uri(location)
            if uri is None:
                self.unverified[session_id] += 1
                continue
            recording = _recording(receiver, _FORMATS[iq_format], uri, *rest)
            heard[receiver] = _Heard(recording, snr_db if _is_number(snr_db) else None)

    def _uri(self, location: str) -> str | None:
        """The object's URI; None if it does not lie in the bucket of recordings."""
        try:
            uri = object_uri(location, bucket=self._raw_bucket)
            return uri if split_uri(uri)[0] == self._raw_bucket else None
        except DataError:
            return None

    def of(self, session_id: UUID) -> Sequence[_Heard]:
        """By name of the receiver."""
        heard = self._heard.get(session_id, {})
        return [heard[name] for name in sorted(heard)]


def _recording(
    receiver: str,
    iq_format: IqFormat,
    uri: str,
    sha256: str,
    offset: int,
    num_bytes: int,
    sample_rate_hz: int,
    center_frequency_hz: int,
    noise_floor_dbfs: float | None,
) -> ManifestRecording:
    return ManifestRecording(
        receiver=receiver,
        uri=uri,
        offset=offset,
        num_bytes=num_bytes,
        sha256=sha256,
        format=iq_format,
        sample_rate_hz=float(sample_rate_hz),
        center_frequency_hz=float(center_frequency_hz),
        noise_floor_dbfs=noise_floor_dbfs,
    )


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _in_region(rows: Sequence[Row[*tuple[Any, ...]]], query: SessionQuery) -> Sequence[Row[*tuple[Any, ...]]]:
    """The rows within the query's circle, of those within its bounding box."""
    circle = query.region.circle if query.region is not None else None
    if circle is None or not rows:
        return rows
    inside = inside_circle(circle, [row.latitude for row in rows], [row.longitude for row in rows])
    return [row for row, is_inside in zip(rows, inside, strict=True) if is_inside]


def _with_status(
    rows: Sequence[Row[*tuple[Any, ...]]], query: SessionQuery
) -> tuple[Sequence[Row[*tuple[Any, ...]]], Counter[str]]:
    """The rows of the statuses asked for, and how many have another."""
    statuses = [_status_of(row) for row in rows]
    asked = [row for row, status in zip(rows, statuses, strict=True) if status in query.approval_status]
    return asked, Counter(status for status in statuses if status not in query.approval_status)


def _status_of(row: Row[*tuple[Any, ...]]) -> str:
    """What nobody has judged is pending, whatever the platform calls it."""
    status = row.approval_status
    return status if status in {"approved", "rejected"} else "pending"


def _shortcoming(heard: Sequence[_Heard], query: SessionQuery, *, any_unusable: bool) -> str | None:
    """Why a session does not count, or None."""
    if not heard:
        return "unverified_iq" if any_unusable else "no_recordings"
    if len(heard) < query.min_receivers:
        return "too_few_receivers"
    floor = query.min_snr_db
    if floor is None:
        return None
    num_clear = sum(one.snr_db is not None and one.snr_db >= floor for one in heard)
    return "below_min_snr" if num_clear < query.min_receivers else None


def _receivers(
    chosen: Iterable[SelectedSession], stations: Iterable[Station]
) -> tuple[ManifestReceiver, ...]:
    heard = {recording.receiver for one in chosen for recording in one.recordings}
    found = {station.name: _receiver(station) for station in stations if station.name in heard}
    return tuple(found[name] for name in sorted(found))


def _receiver(station: Station) -> ManifestReceiver:
    return ManifestReceiver(
        name=station.name,
        latitude=station.latitude,
        longitude=station.longitude,
        altitude_m=station.altitude_asl or 0.0,
    )


def _session(row: Row[*tuple[Any, ...]], heard: Sequence[_Heard]) -> SelectedSession:
    started_at: datetime = row.session_start
    return SelectedSession(
        id=str(row.id),
        source=row.name,
        latitude=row.latitude,
        longitude=row.longitude,
        frequency_hz=float(row.frequency_hz),
        started_at=started_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        group=row.split_group,
        recordings=tuple(one.recording for one in heard),
        snr_db=tuple(one.snr_db for one in heard),
    )
