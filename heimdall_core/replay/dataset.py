"""The recordings that a replay trains on: the dataset version of then, wherever it is found."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.local.recordings import MANIFEST_FILE
from heimdall_core.replay.record import RunRecord
from heimdall_core.storage.folder import DEFAULT_MEDIA_TYPE
from heimdall_core.train import read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayData:
    """A frozen dataset manifest, and the store that its recordings lie in."""

    manifest: Manifest
    store: ObjectStore


class StoreWithFiles:
    """A store in which some objects are files of this machine."""

    def __init__(self, store: ObjectStore, files: Mapping[str, Path]) -> None:
        self._store = store
        self._files = dict(files)

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """The object, or a range of it."""
        return self._store.get_bytes(uri, offset=offset, num_bytes=num_bytes)

    def get_file(self, uri: str, path: Path) -> None:
        """The file, or what the store has."""
        if uri in self._files:
            path.write_bytes(self._files[uri].read_bytes())
        else:
            self._store.get_file(uri, path)

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Stores and returns what was stored."""
        return self._store.put_bytes(uri, data, media_type=media_type)

    def put_file(self, uri: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Stores a file."""
        return self._store.put_file(uri, path, media_type=media_type)


def find_dataset(
    record: RunRecord, store: ObjectStore, *, file: Path | None = None, beside: Path | None = None
) -> Manifest:
    """The frozen manifest: of ``file``, else of the folder ``beside`` it, else of the store.

    Raises:
        InvalidRequest: the run's manifest does not say where it lies, and nothing else does.
        DataError: it is damaged, or another dataset than that of the training.
        NotFound, StorageUnavailable: as the store says.
    """
    found = file or _beside(beside)
    manifest = _fetch(record, store) if found is None else read_manifest(found)
    require_same(record, manifest, str(found or "the store"))
    return manifest


def require_same(record: RunRecord, manifest: Manifest, place: str) -> None:
    """Raises DataError unless the manifest has the digest of the dataset that was trained on."""
    if (digest := manifest.digest()) != record.dataset["digest"]:
        raise DataError(
            f"the dataset of {place} has the digest {digest}, not {record.dataset['digest']}",
            code="dataset_changed",
            hint=f"Give version {record.dataset['version']} of {record.dataset['name']}, and nothing else.",
        )


def _beside(folder: Path | None) -> Path | None:
    path = None if folder is None else folder / MANIFEST_FILE
    return path if path is not None and path.is_file() else None


def _fetch(record: RunRecord, store: ObjectStore) -> Manifest:
    stored = record.dataset_object
    if stored is None:
        name, version = record.dataset["name"], record.dataset["version"]
        raise InvalidRequest(
            "the run's manifest does not say where its dataset lies",
            code="dataset_unknown",
            hint=f"Give --dataset FILE: GET /v1/datasets/{name}/versions/{version} has its download_url.",
        )
    data = store.get_bytes(stored.uri)
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise DataError(f"{stored.uri} has changed since it was frozen", code="object_changed")
    return Manifest.from_dict(json.loads(data))
