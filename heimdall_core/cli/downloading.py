"""Downloads that go on where they broke off, and are checked against their SHA-256."""

import hashlib
from pathlib import Path

import httpx

from heimdall_core.cli.client import ApiClient, Json
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.domain.errors import DataError, InvalidRequest

_PARTIAL = 206
_FUTILE_TRIES = 3
"""Broken connections in a row that brought no byte."""


def download_file(client: ApiClient, file: Json, folder: Path) -> Path:
    """A job's file in ``folder``, whole and as its SHA-256 says; one that is there already stays.

    What was downloaded before the connection broke is kept beside it, and the next call goes on from there.

    Raises:
        DataError: the bytes are not those that the service registered (``object_changed``).
        InvalidRequest: the folder cannot be written.
        RequestRefused, ServerUnreachable: as the service says, or does not.
    """
    target = folder / Path(file["name"]).name
    if target.is_file() and _sha256(target) == file["sha256"]:
        return target
    part = folder / f".{target.name}.{file['sha256'][:16]}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(client, file, part)
        _require_whole(part, file)
        part.replace(target)
    except OSError as error:
        raise InvalidRequest(f"cannot write {target}: {error.strerror}", code="output_unwritable") from error
    return target


def _fetch(client: ApiClient, file: Json, part: Path) -> None:
    """Fills the part, however often the connection breaks, as long as each brings something."""
    futile = 0
    while (before := _size(part)) < file["bytes"] or not part.exists():
        try:
            _go_on(client, file, part, before)
        except httpx.HTTPError as error:
            futile = 0 if _size(part) > before else futile + 1
            if futile == _FUTILE_TRIES:
                raise _broken(file, _size(part), error) from error
        else:
            return


def _broken(file: Json, num_bytes: int, error: httpx.HTTPError) -> ServerUnreachable:
    return ServerUnreachable(
        f"the download of {file['name']} broke off at {num_bytes} of {file['bytes']} bytes: {error}",
        hint="the same command goes on from there",
    )


def _go_on(client: ApiClient, file: Json, part: Path, before: int) -> None:
    headers = {"Range": f"bytes={before}-", "If-Range": f'"{file["sha256"]}"'} if before else {}
    with client.stream(file["content_url"], headers=headers) as answer:
        is_part = answer.status_code == _PARTIAL
        if is_part and not answer.headers.get("Content-Range", "").startswith(f"bytes {before}-"):
            raise DataError(f"{file['name']}: the service sent another range", code="object_changed")
        with part.open("ab" if is_part else "wb") as written:
            for piece in answer.iter_bytes():
                written.write(piece)


def _require_whole(part: Path, file: Json) -> None:
    if _sha256(part) != file["sha256"]:
        part.unlink()
        raise DataError(
            f"{file['name']} is damaged: its sha256 is not {file['sha256']}",
            code="object_changed",
            hint="Run the command again; if that is of no use, the object in the store was changed.",
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
