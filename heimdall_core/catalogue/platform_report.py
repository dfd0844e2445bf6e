"""What an import of the platform's own recordings is to read, and what it found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from heimdall_core.recordings.refusal import RefusedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRecording:
    """A measurement of the platform whose object is to be read; flat, so that it lies in a row as JSON."""

    session_id: str
    session_name: str
    measurement_id: str
    timestamp: str
    """RFC 3339; with ``measurement_id`` the key of the row."""
    receiver: str
    name: str
    """The object's key: what reports call it."""
    location: str
    """As the row has it."""
    uri: str
    sample_rate_hz: int
    frequency_hz: int
    num_samples: int | None
    """As the row states; None: unstated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedRecording:
    """A recording whose object was read and found good."""

    recording: PlatformRecording
    sha256: str
    """Of the samples."""
    offset: int
    """Bytes before the samples."""
    num_bytes: int
    """Bytes of the samples."""
    num_samples: int
    snr_db: float | None
    """Estimated in the channel; told in the report alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPlan:
    """What an import job takes over."""

    recordings: tuple[PlatformRecording, ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    known: tuple[str, ...] = ()
    """Sessions that were named and are in the catalogue's care already."""
    warnings: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "recordings": [asdict(recording) for recording in self.recordings],
            "refused": [asdict(refused) for refused in self.refused],
            "known": list(self.known),
            "warnings": list(self.warnings),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "PlatformPlan":
        """Reads what ``to_dict`` wrote."""
        return PlatformPlan(
            recordings=tuple(PlatformRecording(**recording) for recording in data["recordings"]),
            refused=tuple(RefusedFile(**refused) for refused in data["refused"]),
            known=tuple(data["known"]),
            warnings=tuple(data["warnings"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformReport:
    """What became of the planned recordings, in their order."""

    described: tuple[DescribedRecording, ...] = ()
    refused: tuple[RefusedFile, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "described": [asdict(described) for described in self.described],
            "refused": [asdict(refused) for refused in self.refused],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "PlatformReport":
        """Reads what ``to_dict`` wrote."""
        return PlatformReport(
            described=tuple(
                DescribedRecording(**{**one, "recording": PlatformRecording(**one["recording"])})
                for one in data["described"]
            ),
            refused=tuple(RefusedFile(**refused) for refused in data["refused"]),
        )
