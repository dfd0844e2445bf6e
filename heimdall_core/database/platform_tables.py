"""The Heimdall platform's tables that this service reads and appends to (schema ``heimdall``).

The platform owns them. Our migration creates what is absent and adds nullable columns, nothing else;
so no foreign key, index or constraint of ours is declared here. Of the columns that the platform fills,
imports of this service fill all that they know in rows of their own; in the platform's rows they fill only
what is marked as ours, where it is null.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NEW_UUID = text("gen_random_uuid()")


class PlatformBase(DeclarativeBase):
    """Tables of schema ``heimdall``."""

    metadata = MetaData(schema="heimdall")
    type_annotation_map = {datetime: DateTime(timezone=True), str: Text}  # noqa: RUF012 - as above


class Station(PlatformBase):
    """A fixed receiver."""

    __tablename__ = "websdr_stations"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_UUID)
    name: Mapped[str]
    url: Mapped[str]
    country: Mapped[str | None]
    latitude: Mapped[float]
    longitude: Mapped[float]
    altitude_asl: Mapped[float | None]
    is_active: Mapped[bool | None] = mapped_column(server_default=text("true"))
    notes: Mapped[str | None]
    created_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))


class KnownSource(PlatformBase):
    """A transmitter whose position is known."""

    __tablename__ = "known_sources"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_UUID)
    name: Mapped[str]
    #: The platform may keep a source whose frequency or place nobody knows yet.
    frequency_hz: Mapped[int | None] = mapped_column(BigInteger)
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    power_dbm: Mapped[float | None]
    error_margin_meters: Mapped[float | None]
    created_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))


class RecordingSession(PlatformBase):
    """One transmission of a known source."""

    __tablename__ = "recording_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_UUID)
    known_source_id: Mapped[UUID | None]
    session_name: Mapped[str]
    session_start: Mapped[datetime]
    session_end: Mapped[datetime | None]
    duration_seconds: Mapped[float | None]
    status: Mapped[str | None] = mapped_column(server_default=text("'pending'"))
    approval_status: Mapped[str | None] = mapped_column(server_default=text("'pending'"))
    notes: Mapped[str | None]
    created_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))


class Measurement(PlatformBase):
    """One receiver's recording of a session."""

    __tablename__ = "measurements"

    timestamp: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=_NEW_UUID)
    websdr_station_id: Mapped[UUID | None]
    frequency_hz: Mapped[int] = mapped_column(BigInteger)
    signal_strength_db: Mapped[float | None]
    snr_db: Mapped[float | None]
    iq_data_location: Mapped[str | None]
    iq_data_format: Mapped[str | None]
    iq_sample_rate: Mapped[int | None]
    iq_samples_count: Mapped[int | None]
    duration_seconds: Mapped[float | None]
    created_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))
    # Ours, nullable; a platform may have the first one itself.
    recording_session_id: Mapped[UUID | None]
    iq_sha256: Mapped[str | None]
    iq_byte_offset: Mapped[int | None] = mapped_column(BigInteger)
    iq_num_bytes: Mapped[int | None] = mapped_column(BigInteger)
    noise_floor_dbfs: Mapped[float | None]
