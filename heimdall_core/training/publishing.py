"""The files that a job hands out: uploaded under its prefix, reported, and logged to MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heimdall_core.domain.ports import Artifact, ArtifactKind, ObjectStore, StoredObject
from heimdall_core.storage import join_uri
from heimdall_core.tracking import MLflowTracker
from heimdall_core.training.provenance import to_plain
from heimdall_core.training.reporting import JobReporter

_MEDIA_TYPES = {".json": "application/json", ".png": "image/png", ".sha256": "text/plain"}


class Publisher:
    """Uploads artifacts under ``base_uri`` and remembers them."""

    def __init__(
        self, store: ObjectStore, base_uri: str, reporter: JobReporter, tracker: MLflowTracker | None
    ) -> None:
        self._store = store
        self._base_uri = base_uri
        self._reporter = reporter
        self._tracker = tracker
        self._artifacts: list[Artifact] = []

    def upload(self, path: Path, kind: ArtifactKind, *, track: bool = False) -> None:
        """Uploads a file under its own name; with ``track`` MLflow gets it too.

        Raises:
            StorageUnavailable: the store did not answer, or refused.
        """
        media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        stored = self._store.put_file(join_uri(self._base_uri, path.name), path, media_type=media_type)
        self.announce(path.name, kind, stored)
        if track and self._tracker is not None:
            self._tracker.log_artifact(path)

    def announce(
        self, name: str, kind: ArtifactKind, stored: StoredObject, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Reports a file that is already in the store."""
        artifact = Artifact(name=name, kind=kind, object=stored, metadata=to_plain(metadata or {}))
        self._artifacts.append(artifact)
        self._reporter.artifact(artifact)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Name, place and checksum of everything so far."""
        return {a.name: describe_object(a.object) for a in self._artifacts}


def describe_object(stored: StoredObject) -> dict[str, Any]:
    """A stored object in JSON's own types."""
    return {"uri": stored.uri, "sha256": stored.sha256, "bytes": stored.num_bytes}
