"""Spectrograms of recording sessions: where one lies in the object store, and what its object says.

They are a cache and no result: an object that is not there is made again when somebody asks for it.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.manifest import FEATURES_VERSION, Manifest, canonical_json, digest_of

FAILURE_SECONDS: Final = 60.0
"""How long a failure is told before it is tried again."""
_SCHEMA: Final = 1
_FOLDER: Final = "spectrograms"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpectrogram:
    """What an object holds: one of the two."""

    spectrogram: dict[str, Any] | None = None
    error: ErrorInfo | None = None
    failed_at: datetime | None = None

    def is_final(self, now: datetime) -> bool:
        """Whether there is nothing to be made, for now."""
        if self.failed_at is None:
            return True
        return abs(now - self.failed_at) < timedelta(seconds=FAILURE_SECONDS)

    def to_json(self) -> bytes:
        """The object's bytes."""
        if self.error is None or self.failed_at is None:
            return canonical_json({"spectrogram": self.spectrogram})
        return canonical_json({"error": self.error.to_dict(), "failed_at": self.failed_at.isoformat()})


def read_stored(data: bytes) -> StoredSpectrogram:
    """An object's content."""
    content = json.loads(data)
    if "error" not in content:
        return StoredSpectrogram(spectrogram=content["spectrogram"])
    error = content["error"]
    return StoredSpectrogram(
        error=ErrorInfo(**(error | {"category": ErrorCategory(error["category"])})),
        failed_at=datetime.fromisoformat(content["failed_at"]),
    )


def spectrogram_uri(manifest: Manifest, segment: int, *, bucket: str, now: datetime) -> str:
    """The place of a segment of the only session of ``manifest``, by its content and the month."""
    content = [_SCHEMA, FEATURES_VERSION, manifest.digest(), segment]
    return f"s3://{bucket}/{_FOLDER}/{_month(now)}/{digest_of(content)}.json"


def folder_uri(bucket: str) -> str:
    """The prefix of all."""
    return f"s3://{bucket}/{_FOLDER}/"


def is_outdated(uri: str, now: datetime) -> bool:
    """Whether it was made before the last month: whoever asks for it gets a new one."""
    return uri.split("/")[-2] not in {_month(now), _month(now.replace(day=1) - timedelta(days=1))}


def _month(now: datetime) -> str:
    return f"{now:%Y-%m}"
