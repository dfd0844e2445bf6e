"""A folder that behaves like the object store."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.domain.ports import StoredObject
from heimdall_core.storage.uri import split_uri

DEFAULT_MEDIA_TYPE = "application/octet-stream"


class FolderStore:
    """Keeps ``s3://bucket/key`` as ``root/bucket/key``; writes are atomic."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, uri: str) -> Path:
        bucket, key = split_uri(uri)
        parts = [bucket, *key.lstrip("/").split("/")]
        if ".." in parts:
            raise DataError(f"{uri!r} leads out of the store", code="bad_object_uri")
        return self._root.joinpath(*parts)

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """The object, or a range of it."""
        try:
            with self._path(uri).open("rb") as file:
                file.seek(offset)
                return file.read(-1 if num_bytes is None else num_bytes)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"no object {uri}", code="object_not_found") from error

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Stores the bytes."""
        path = self._path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
        return StoredObject(
            uri=uri, sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data), media_type=media_type
        )

    def put_file(self, uri: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Stores a file."""
        return self.put_bytes(uri, path.read_bytes(), media_type=media_type)

    def get_file(self, uri: str, path: Path) -> None:
        """Copies the object to a file, atomically."""
        source = self._path(uri)
        if not source.is_file():
            raise NotFound(f"no object {uri}", code="object_not_found")
        part = path.with_name(f".{path.name}.part")
        shutil.copyfile(source, part)
        part.replace(path)

    def list_sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each object whose URI begins with ``prefix``, by URI."""
        start = self._path(prefix)
        bucket, _ = split_uri(prefix)
        folder = start if prefix.endswith("/") else start.parent
        sizes = {
            f"s3://{bucket}/{path.relative_to(self._root / bucket).as_posix()}": path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".part-")
        }
        return {uri: num_bytes for uri, num_bytes in sizes.items() if uri.startswith(prefix)}

    def delete(self, uri: str) -> None:
        """Deletes the object; one that is absent already is no error."""
        self._path(uri).unlink(missing_ok=True)

    def delete_all(self, uris: Iterable[str]) -> None:
        """Deletes the objects; those that are absent already are no error."""
        for uri in uris:
            self.delete(uri)
