"""What an import found: the sessions to catalogue, and what was left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from heimdall_core.domain.manifest import IqFormat
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import ReceiverSite, Source, parse_utc, utc_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRecording:
    """One receiver's samples: a byte range of the session's archive."""

    receiver: str
    uri: str
    offset: int
    num_bytes: int
    sha256: str
    """Of the byte range."""
    format: IqFormat
    sample_rate_hz: float
    center_frequency_hz: float
    noise_floor_dbfs: float | None
    snr_db: float | None
    """Estimated, signal over noise in the channel; None: no noise to compare with."""
    started_at: datetime
    num_samples: int
    duration_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSession:
    """A valid session, its archive stored."""

    name: str
    file: str
    """The uploaded file that it came from."""
    uri: str
    sha256: str
    """Of the archive."""
    num_bytes: int
    source: Source
    receivers: tuple[ReceiverSite, ...]
    recordings: tuple[ImportedRecording, ...]
    """In the order of ``receivers``."""
    started_at: datetime
    duration_seconds: float
    split_group: str | None = None
    """A label that keeps related sessions in one split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateSession:
    """A session whose archive is equal, byte for byte, to an earlier one's of the same upload."""

    name: str
    file: str
    sha256: str
    same_as: str
    """The file that the earlier one came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The outcome of an import, in the order of the files."""

    sessions: tuple[ImportedSession, ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    duplicates: tuple[DuplicateSession, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """The uploaded files (or rows) that gave a session, one entry per session."""
        return tuple(session.file for session in self.sessions)

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {
            "accepted": len(self.sessions),
            "refused": len(self.refused),
            "duplicates": len(self.duplicates),
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; times are RFC 3339."""
        return {
            "sessions": [_session_to_dict(session) for session in self.sessions],
            "refused": [_members(refused) for refused in self.refused],
            "duplicates": [_members(duplicate) for duplicate in self.duplicates],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "ImportReport":
        """Reads what ``to_dict`` wrote."""
        return ImportReport(
            sessions=tuple(_session_from_dict(session) for session in data["sessions"]),
            refused=tuple(RefusedFile(**refused) for refused in data["refused"]),
            duplicates=tuple(DuplicateSession(**duplicate) for duplicate in data["duplicates"]),
        )


def _members(record: Any) -> dict[str, Any]:
    """A flat dataclass as a dict; ``asdict`` copies deeply, which is slow for 60,000 recordings."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _session_to_dict(session: ImportedSession) -> dict[str, Any]:
    return _members(session) | {
        "source": _members(session.source),
        "receivers": [_members(receiver) for receiver in session.receivers],
        "recordings": [
            _members(recording) | {"started_at": utc_text(recording.started_at)}
            for recording in session.recordings
        ],
        "started_at": utc_text(session.started_at),
    }


def _session_from_dict(data: Mapping[str, Any]) -> ImportedSession:
    replaced = {
        "source": Source(**data["source"]),
        "receivers": tuple(ReceiverSite(**receiver) for receiver in data["receivers"]),
        "recordings": tuple(
            ImportedRecording(**{**recording, "started_at": parse_utc(recording["started_at"])})
            for recording in data["recordings"]
        ),
        "started_at": parse_utc(data["started_at"]),
    }
    return ImportedSession(**{**data, **replaced})
