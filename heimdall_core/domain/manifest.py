"""The frozen dataset manifest: everything a training run reads, and its digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from heimdall_core.domain.errors import DataError

MANIFEST_SCHEMA = 1
#: Raised when the same IQ would give other features: what is computed of them is kept under it.
FEATURES_VERSION = 2
Split = Literal["train", "val", "test"]
IqFormat = Literal["cf32_le", "ci16_le", "cu8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """How IQ becomes ``(receivers, 128, 32)`` float32."""

    sample_rate_hz: float = 12_500.0
    n_fft: int = 256
    hop: int = 128
    num_frames: int = 32
    num_bands: int = 120
    scale: Literal["mel", "linear"] = "mel"
    channel_bandwidth_hz: float = 10_000.0
    """Width of the channel in which the signal's power is measured; beyond it lie guard bands."""

    @property
    def segment_samples(self) -> int:
        """Samples of one segment: ``(num_frames - 1) * hop + n_fft``."""
        return (self.num_frames - 1) * self.hop + self.n_fft

    def digest(self) -> str:
        """Identifies these settings in the feature cache."""
        return digest_of(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReceiver:
    """A fixed receiver; its place in the manifest is its channel of the network."""

    name: str
    latitude: float
    longitude: float
    altitude_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRecording:
    """One receiver's IQ samples: a byte range of one object."""

    receiver: str
    uri: str
    offset: int
    num_bytes: int
    sha256: str
    """Of the byte range."""
    format: IqFormat
    sample_rate_hz: float
    center_frequency_hz: float
    noise_floor_dbfs: float | None = None
    """Mean noise power inside ``channel_bandwidth_hz``, dB relative to full scale; None: unstated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSession:
    """One transmission of a known source, heard by several receivers."""

    id: str
    source: str
    latitude: float
    longitude: float
    frequency_hz: float
    started_at: str
    split: Split
    block: str
    """The spatial block (or source) that keeps neighbours in one split."""
    recordings: tuple[ManifestRecording, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A frozen dataset version."""

    name: str
    version: int
    origin_latitude: float
    origin_longitude: float
    receivers: tuple[ManifestReceiver, ...]
    sessions: tuple[ManifestSession, ...]
    features: FeatureSettings = field(default_factory=FeatureSettings)
    schema: int = MANIFEST_SCHEMA

    def of_split(self, split: Split) -> tuple[ManifestSession, ...]:
        """The sessions of one split, in manifest order."""
        return tuple(s for s in self.sessions if s.split == split)

    def digest(self) -> str:
        """SHA-256 of the content; name and version do not count."""
        content = self.to_dict()
        del content["name"], content["version"]
        return digest_of(content)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form. Built by hand: ``asdict`` takes seconds for some ten thousand recordings."""
        return {
            "name": self.name,
            "version": self.version,
            "origin_latitude": self.origin_latitude,
            "origin_longitude": self.origin_longitude,
            "receivers": [_members(receiver) for receiver in self.receivers],
            "sessions": [
                _members(session) | {"recordings": [_members(r) for r in session.recordings]}
                for session in self.sessions
            ],
            "features": asdict(self.features),
            "schema": self.schema,
        }

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        return canonical_json(self.to_dict())

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Manifest":
        """Reads the JSON form.

        Raises:
            DataError: the manifest was written by a version that this one cannot read.
        """
        if data.get("schema") != MANIFEST_SCHEMA:
            raise DataError(
                f"manifest schema {data.get('schema')!r} is not {MANIFEST_SCHEMA}", code="manifest_schema"
            )
        return Manifest(
            name=data["name"],
            version=data["version"],
            origin_latitude=data["origin_latitude"],
            origin_longitude=data["origin_longitude"],
            receivers=tuple(ManifestReceiver(**r) for r in data["receivers"]),
            sessions=tuple(_session(s) for s in data["sessions"]),
            features=FeatureSettings(**data["features"]),
            schema=data["schema"],
        )


def _members(value: ManifestReceiver | ManifestRecording | ManifestSession) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _session(data: Mapping[str, Any]) -> ManifestSession:
    recordings: Sequence[Mapping[str, Any]] = data["recordings"]
    rest = {k: v for k, v in data.items() if k != "recordings"}
    return ManifestSession(**rest, recordings=tuple(ManifestRecording(**r) for r in recordings))


def canonical_json(value: object) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: object) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
