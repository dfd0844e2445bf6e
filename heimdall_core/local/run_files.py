"""The files of a run: recordings are read where they are, results are written into folders."""

import os
from pathlib import Path

from pydantic import SecretStr

from heimdall_core.domain.errors import DataError, StorageUnavailable
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.settings import StorageSettings
from heimdall_core.storage import FolderStore, S3Store
from heimdall_core.storage.folder import DEFAULT_MEDIA_TYPE
from heimdall_core.storage.s3 import hash_file

CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
_READABLE = 0o644
_NUM_KEPT = 2
"""Durable checkpoints of a run: the newest, and the one before it."""


class RunStore:
    """Reads recordings from a store; writes ``{output_uri}/name`` into the folder of results.

    Checkpoints go into a folder of their own, where only the newest of the run are kept.
    """

    def __init__(self, recordings: ObjectStore, output_dir: Path, checkpoint_dir: Path | None = None) -> None:
        self._recordings = recordings
        self._output_dir = output_dir
        self._checkpoint_dir = checkpoint_dir or output_dir / CHECKPOINTS
        self.output_uri = f"s3://{output_dir.resolve().name or 'output'}"
        self._files: dict[str, Path] = {}
        self._checkpoints: list[Path] = []

    def add_file(self, path: Path) -> StoredObject:
        """Makes a file readable as an object of this store."""
        uri = f"{self.output_uri}/{CHECKPOINTS}/{path.name}"
        self._files[uri] = path
        sha256, num_bytes = hash_file(path)
        return StoredObject(uri=uri, sha256=sha256, num_bytes=num_bytes)

    def path_of(self, uri: str) -> Path:
        """Where the run writes an object."""
        name = uri.removeprefix(f"{self.output_uri}/")
        if name == BEST or name.startswith(f"{CHECKPOINTS}/"):
            return self._checkpoint_dir / name.removeprefix(f"{CHECKPOINTS}/")
        return self._output_dir / name

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """A recording, or a range of it."""
        return self._recordings.get_bytes(uri, offset=offset, num_bytes=num_bytes)

    def get_file(self, uri: str, path: Path) -> None:
        """A file of the run, or a recording."""
        if uri in self._files:
            path.write_bytes(self._files[uri].read_bytes())
        else:
            self._recordings.get_file(uri, path)

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Writes a result.

        Raises:
            StorageUnavailable: the folder cannot be written, e.g. the disk is full.
        """
        place = self.path_of(uri)
        try:
            stored = FolderStore(place.parent.parent).put_bytes(
                f"s3://{place.parent.name}/{place.name}", data, media_type=media_type
            )
            place.chmod(_READABLE)
        except OSError as error:
            raise StorageUnavailable(
                f"{place} cannot be written: {error.strerror}",
                code="output_unwritable",
                hint="Free space there or give another --output-dir.",
            ) from error
        if place.parent == self._checkpoint_dir and place.name != BEST:
            self._keep_newest(place)
        return StoredObject(uri=uri, sha256=stored.sha256, num_bytes=len(data), media_type=media_type)

    def put_file(self, uri: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Writes a result."""
        return self.put_bytes(uri, path.read_bytes(), media_type=media_type)

    def _keep_newest(self, written: Path) -> None:
        self._checkpoints = [path for path in self._checkpoints if path != written] + [written]
        for old in self._checkpoints[:-_NUM_KEPT]:
            old.unlink(missing_ok=True)
        self._checkpoints = self._checkpoints[-_NUM_KEPT:]


def open_recordings(store_root: str) -> ObjectStore:
    """A folder, or an S3 endpoint with the credentials of ``AWS_ACCESS_KEY_ID`` and its companion.

    Raises:
        DataError: there is no such folder, or the credentials are not set.
    """
    if not store_root.startswith(("http://", "https://")):
        if not Path(store_root).is_dir():
            raise DataError(
                f"no folder {store_root}",
                code="no_store",
                hint="Give --store-root the folder that holds bucket/key, or an S3 endpoint URL.",
            )
        return FolderStore(Path(store_root))
    try:
        settings = StorageSettings(
            endpoint_url=store_root,
            access_key_id=SecretStr(os.environ["AWS_ACCESS_KEY_ID"]),
            secret_access_key=SecretStr(os.environ["AWS_SECRET_ACCESS_KEY"]),
        )
    except KeyError as error:
        name = error.args[0]
        raise DataError(f"{name} is not set", code="no_credentials", hint=f"Export {name}.") from error
    return S3Store(settings)
