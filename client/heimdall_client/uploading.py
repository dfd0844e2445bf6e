"""Files on their way into the service: a presigned PUT for each, then the import."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heimdall_client.documents.data import Upload
from heimdall_client.exchanges import Json, Request
from heimdall_client.steps import Flow, run, send


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file to upload, under the name that the service shall know it by."""

    name: str
    path: Path

    def describe(self) -> Json:
        """Its entry in the request for presigned URLs."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": self.name, "size": self.path.stat().st_size, "sha256": digest}


def find_files(paths: Iterable[Path | str]) -> list[LocalFile]:
    """The files, and those in the folders, in order of their names.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: there is no file, or two have one name.
    """
    found: dict[str, LocalFile] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        root = path if path.is_dir() else path.parent
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            name = file.relative_to(root).as_posix()
            if name in found:
                raise ValueError(f"{file} and {found[name].path} have one name: {name}")
            found[name] = LocalFile(name=name, path=file)
    if not found:
        raise ValueError("there is no file in these paths")
    return list(found.values())


def describe_files(files: Sequence[LocalFile]) -> Flow[list[Json]]:
    """What is announced of each file: name, size and SHA-256."""
    return (yield from run(lambda: [file.describe() for file in files]))


def send_files(upload: Upload, files: Sequence[LocalFile]) -> Flow[None]:
    """PUTs what the store does not have yet.

    Raises:
        ValueError: a file of the upload is not among these, or has changed since it was announced.
        HeimdallError: the object store refused it, or did not answer.
    """
    local: Mapping[str, LocalFile] = {file.name: file for file in files}
    for target in upload.files:
        if target.received:
            continue
        file = local.get(target.name)
        if file is None:
            raise ValueError(f"{target.name} has yet to be sent and is not in these paths")
        size = (yield from run(file.path.stat)).st_size
        if size != target.size:
            raise ValueError(f"{file.path} has {size} bytes and was announced with {target.size}")
        yield from send(
            Request(method=target.method, path=target.url, headers=target.headers, file=file.path)
        )
