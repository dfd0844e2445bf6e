"""Recordings, receivers, uploads and datasets."""

from datetime import datetime
from typing import Any

from pydantic import Field

from heimdall_client.documents.document import Document, OpenEnum


class ApprovalStatus(OpenEnum):
    """Whether a session may train."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Source(Document):
    """A transmitter whose position is known."""

    id: str
    name: str
    frequency_hz: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    error_margin_m: float | None = None
    power_dbm: float | None = None


class Recording(Document):
    """What one receiver recorded: a byte range of an object."""

    receiver: str
    latitude: float | None = None
    longitude: float | None = None
    sha256: str | None = None
    offset: int | None = None
    num_bytes: int | None = None
    format: str | None = None
    download_url: str | None = None
    sample_rate_hz: int | None = None
    num_samples: int | None = None
    center_frequency_hz: int | None = None
    snr_db: float | None = None
    noise_floor_dbfs: float | None = None


class RecordingArchive(Document):
    """The object that holds all recordings of a session."""

    uri: str
    sha256: str
    bytes: int
    download_url: str


class RecordingSession(Document):
    """One transmission of a known source."""

    id: str
    name: str
    approval_status: ApprovalStatus
    source: Source | None = None
    started_at: datetime | None = None
    duration_seconds: float | None = None
    num_recordings: int = 0
    import_job_id: str | None = None
    group: str | None = None
    flags: list[str] = Field(default_factory=list)
    """What to look at before it is approved."""
    created_at: datetime | None = None
    recordings: list[Recording] = Field(default_factory=list)
    """Only where one session was asked for."""
    archive: RecordingArchive | None = None


class ReceiverSpectrogram(Document):
    """What one receiver heard, in dB over its noise floor."""

    receiver: str
    over_floor_db: list[list[float]]
    """One list for each band, one value for each frame."""
    snr_db: float | None = None
    power_dbfs: float | None = None
    noise_floor_dbfs: float | None = None
    carrier_offset_hz: float | None = None


class Spectrogram(Document):
    """One segment of a session as the network sees it."""

    session_id: str
    segment: int
    num_segments: int
    frequency_hz: list[float]
    time_seconds: list[float]
    receivers: list[ReceiverSpectrogram]


class Receiver(Document):
    """A fixed receiver."""

    id: str
    name: str
    latitude: float
    longitude: float
    altitude_m: float | None = None
    url: str | None = None
    is_active: bool = True
    created_at: datetime | None = None


class UploadTarget(Document):
    """Where one file goes."""

    name: str
    url: str
    """Presigned; expires with the upload."""
    size: int
    sha256: str | None = None
    received: bool = False
    method: str = "PUT"
    headers: dict[str, str] = Field(default_factory=dict)


class Upload(Document):
    """Places to PUT files, and the import that follows."""

    id: str
    files: list[UploadTarget] = Field(default_factory=list)
    """Empty once the upload is complete."""
    num_files: int = 0
    num_received: int | None = None
    job_id: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    completed_at: datetime | None = None


class Dataset(Document):
    """An immutable dataset version."""

    name: str
    version: int
    digest: str
    counts: dict[str, int] = Field(default_factory=dict)
    statistics: dict[str, Any] | None = None
    receivers: list[dict[str, Any]] = Field(default_factory=list)
    query: dict[str, Any] = Field(default_factory=dict)
    split: dict[str, Any] = Field(default_factory=dict)
    manifest: dict[str, Any] = Field(default_factory=dict)
    created_by: str | None = None
    created_at: datetime | None = None
    created: bool | None = None
    """Of an answer to ``create``; False: a version with this content existed already."""


class DatasetPreview(Document):
    """What freezing would make now."""
