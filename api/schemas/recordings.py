"""Uploads, receivers and recording sessions on the wire."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.services import HandoutStore
from heimdall_core.catalogue.session_flags import SessionFlag
from heimdall_core.catalogue.sessions import SessionDetail, SessionSummary
from heimdall_core.database.catalogue_tables import SessionArchive, Upload
from heimdall_core.database.platform_tables import KnownSource, Measurement, Station
from heimdall_core.domain.errors import DataError
from heimdall_core.storage.uri import object_uri, split_uri


class UploadTarget(BaseModel):
    """Where one file goes: send its bytes with exactly this method and these headers."""

    name: str
    size: int = Field(description="Bytes, as announced.")
    sha256: str | None = Field(description="As announced.")
    received: bool = Field(description="Whether the store has it with the announced size.")
    url: str | None = Field(
        description="Presigned; expires with the upload. Null to callers who may not write the upload."
    )
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(default_factory=dict)


class UploadDocument(BaseModel):
    """An upload: PUT every file, then POST `:complete`."""

    id: str
    files: list[UploadTarget] = Field(description="Empty once the upload is complete.")
    num_files: int
    num_received: int | None = Field(description="How many the store has; null once the upload is complete.")
    job_id: str | None = Field(description="The import job, once complete.")
    created_at: datetime
    expires_at: datetime = Field(description="When the URLs of this answer expire.")
    completed_at: datetime | None


def upload_document(
    upload: Upload,
    store: HandoutStore,
    *,
    received: Collection[str] = (),
    writable: bool = True,
    now: datetime,
    lifetime: timedelta,
) -> UploadDocument:
    """The wire form, with fresh URLs for whoever may write the upload."""
    open_files = upload.files if upload.completed_at is None else []
    return UploadDocument(
        id=upload.id,
        files=[
            UploadTarget(
                name=file["name"],
                size=file["num_bytes"],
                sha256=file["sha256"],
                received=file["name"] in received,
                url=store.presign_put(file["uri"]) if writable else None,
            )
            for file in open_files
        ],
        num_files=len(upload.files),
        num_received=len(received) if upload.completed_at is None else None,
        job_id=upload.job_id,
        created_at=upload.created_at,
        expires_at=now + lifetime,
        completed_at=upload.completed_at,
    )


class ReceiverDocument(BaseModel):
    """A fixed receiver."""

    id: UUID
    name: str
    latitude: float
    longitude: float
    altitude_m: float | None
    url: str
    is_active: bool
    created_at: datetime | None


class ReceiverList(BaseModel):
    """All receivers, by name."""

    data: list[ReceiverDocument]


def receiver_document(station: Station) -> ReceiverDocument:
    """The wire form of a receiver."""
    return ReceiverDocument(
        id=station.id,
        name=station.name,
        latitude=station.latitude,
        longitude=station.longitude,
        altitude_m=station.altitude_asl,
        url=station.url,
        is_active=station.is_active is not False,
        created_at=station.created_at,
    )


class SourceDocument(BaseModel):
    """A transmitter whose position is known."""

    id: UUID
    name: str
    frequency_hz: int | None
    latitude: float | None
    longitude: float | None
    error_margin_m: float | None
    power_dbm: float | None


class ArchiveDocument(BaseModel):
    """The object that holds all recordings of a session."""

    uri: str
    sha256: str
    bytes: int
    download_url: str = Field(description="Presigned; expires.")


class RecordingDocument(BaseModel):
    """What one receiver recorded: a byte range of an object, which is the session's archive if it has one."""

    receiver: str
    latitude: float
    longitude: float
    sha256: str | None = Field(description="Of the byte range.")
    offset: int | None
    num_bytes: int | None
    format: str | None = Field(description="Of the byte range; `npy`: little-endian complex64.")
    download_url: str | None = Field(
        description="Presigned GET of the whole object; take the recording with `Range`. Expires. "
        "Null: no object of the bucket of recordings."
    )
    sample_rate_hz: int | None
    num_samples: int | None
    center_frequency_hz: int
    snr_db: float | None
    noise_floor_dbfs: float | None


class SessionDocument(BaseModel):
    """One transmission of a known source."""

    id: UUID
    name: str
    source: SourceDocument | None = Field(description="Null: the platform does not know it yet.")
    started_at: datetime
    duration_seconds: float | None
    approval_status: str
    num_recordings: int = Field(description="Recordings that are described: only these train.")
    import_job_id: str | None
    group: str | None
    flags: list[SessionFlag] = Field(
        description="What to look at before it is approved: the source lacks its position or frequency; no "
        "recording is described; fewer than 3 receivers; no receiver above 6 dB SNR; the SNR of a recording "
        "is not known."
    )
    created_at: datetime | None


class SessionDetailDocument(SessionDocument):
    """A session with its recordings."""

    recordings: list[RecordingDocument]
    archive: ArchiveDocument | None


class ApprovalResult(BaseModel):
    """How many sessions were approved that were not before."""

    approved: int


class RejectionResult(BaseModel):
    """How many sessions were rejected that were not before."""

    rejected: int


def session_document(summary: SessionSummary) -> SessionDocument:
    """The wire form in a list."""
    row, archive = summary.session, summary.archive
    return SessionDocument(
        id=row.id,
        name=row.session_name,
        source=_source(summary.source) if summary.source else None,
        started_at=row.session_start,
        duration_seconds=row.duration_seconds,
        approval_status=row.approval_status or "pending",
        num_recordings=summary.num_recordings,
        import_job_id=summary.import_job_id,
        group=archive.split_group if archive else None,
        flags=list(summary.flags),
        created_at=row.created_at,
    )


def session_detail_document(
    detail: SessionDetail, store: HandoutStore, *, bucket: str
) -> SessionDetailDocument:
    """The wire form of one session; ``bucket`` holds what the platform names by a bare key."""
    archive = detail.summary.archive
    return SessionDetailDocument(
        **session_document(detail.summary).model_dump(),
        recordings=[
            _recording(measurement, station, store, bucket) for measurement, station in detail.recordings
        ],
        archive=_archive(archive, store) if archive else None,
    )


def _source(source: KnownSource) -> SourceDocument:
    return SourceDocument(
        id=source.id,
        name=source.name,
        frequency_hz=source.frequency_hz,
        latitude=source.latitude,
        longitude=source.longitude,
        error_margin_m=source.error_margin_meters,
        power_dbm=source.power_dbm,
    )


def _archive(archive: SessionArchive, store: HandoutStore) -> ArchiveDocument:
    return ArchiveDocument(
        uri=archive.uri,
        sha256=archive.sha256,
        bytes=archive.num_bytes,
        download_url=store.presign_get(archive.uri),
    )


def _recording(
    measurement: Measurement, station: Station, store: HandoutStore, bucket: str
) -> RecordingDocument:
    return RecordingDocument(
        receiver=station.name,
        latitude=station.latitude,
        longitude=station.longitude,
        sha256=measurement.iq_sha256,
        offset=measurement.iq_byte_offset,
        num_bytes=measurement.iq_num_bytes,
        format=measurement.iq_data_format,
        download_url=_download_url(measurement.iq_data_location, store, bucket),
        sample_rate_hz=measurement.iq_sample_rate,
        num_samples=measurement.iq_samples_count,
        center_frequency_hz=measurement.frequency_hz,
        snr_db=measurement.snr_db,
        noise_floor_dbfs=measurement.noise_floor_dbfs,
    )


def _download_url(location: str | None, store: HandoutStore, bucket: str) -> str | None:
    """The platform may write any location: nothing but the bucket's own objects is handed out."""
    if location is None:
        return None
    uri = object_uri(location, bucket=bucket)
    try:
        named, _ = split_uri(uri)
    except DataError:
        return None
    return store.presign_get(uri) if named == bucket else None
