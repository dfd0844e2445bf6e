"""Recording sessions in the catalogue, as an import leaves them, and a store that is away."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from heimdall_core.database.catalogue_tables import SessionArchive
from heimdall_core.database.engine import Database
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.storage import S3Store

BUCKET, RAW_BUCKET = "heimdall-models", "heimdall-raw-iq"
START = datetime(2025, 5, 1, tzinfo=UTC)


class StoreThatRefuses(S3Store):
    """Takes nothing."""

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = "") -> Any:
        raise StorageUnavailable(f"{uri}: connection refused")


def add_sessions(
    database: Database, numbers: range, *, approval_status: str = "approved", raw_bucket: str = RAW_BUCKET
) -> None:
    """Sessions of one receiver, each of a source of its own, 20 km from the next."""
    with database.transaction() as session:
        station = session.scalar(select(Station)) or Station(
            name="turin", url="https://rx.example", latitude=45.0, longitude=7.7, altitude_asl=240.0
        )
        session.add(station)
        for number in numbers:
            source = KnownSource(
                name=f"beacon-{number}", frequency_hz=145_000_000, latitude=44 + 0.2 * number, longitude=8.0
            )
            session.add(source)
            session.flush()
            started_at = START + timedelta(minutes=number)
            recorded = RecordingSession(
                known_source_id=source.id,
                session_name=f"session-{number}",
                session_start=started_at,
                approval_status=approval_status,
            )
            session.add(recorded)
            session.flush()
            uri = f"s3://{raw_bucket}/recordings/{number}.sigmf"
            session.add(
                SessionArchive(session_id=recorded.id, uri=uri, sha256=f"{number:064x}", num_bytes=4096)
            )
            session.add(
                Measurement(
                    timestamp=started_at,
                    websdr_station_id=station.id,
                    frequency_hz=145_000_000,
                    snr_db=12.0,
                    iq_data_location=uri,
                    iq_data_format="cf32_le",
                    iq_sample_rate=12_500,
                    iq_samples_count=512,
                    recording_session_id=recorded.id,
                    iq_sha256=f"{number:064x}",
                    iq_byte_offset=0,
                    iq_num_bytes=4096,
                    noise_floor_dbfs=-40.0,
                )
            )
