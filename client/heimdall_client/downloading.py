"""Downloads that go on where they broke off, and are checked against their SHA-256."""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from heimdall_client.errors import DamagedDownload, RateLimited, Unavailable, Unreachable
from heimdall_client.exchanges import Answer, Request, require_success
from heimdall_client.steps import BackOff, Close, Flow, Sleep, Stream, open_stream, read_piece, run

FUTILE_TRIES: Final = 3
"""Connections in a row that brought no byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that can be downloaded."""

    name: str
    url: str
    """``/v1/...`` of the service, or presigned."""
    sha256: str
    num_bytes: int


def download(file: RemoteFile, folder: Path) -> Flow[Path]:
    """The file in ``folder``, whole and as its SHA-256 says; one that is there already stays.

    What came before the connection broke is kept beside it, and the next call goes on from there.

    Raises:
        DamagedDownload: the bytes are not those that the service registered; none of them stays.
        Unreachable: the connection broke, again and again.
        OSError: the folder cannot be written.
    """
    target = folder / (Path(file.name).name or "file")
    if (yield from run(lambda: target.is_file() and _sha256(target) == file.sha256)):
        return target
    part = folder / f".{target.name}.{file.sha256[:16]}.part"
    yield from run(lambda: folder.mkdir(parents=True, exist_ok=True))
    yield from _fetch(file, part)
    if (yield from run(lambda: _sha256(part))) != file.sha256:
        yield from run(part.unlink)
        raise DamagedDownload(
            f"{file.name} is damaged: its sha256 is not {file.sha256}",
            code="object_changed",
            hint="Download it again; if that is of no use, the object in the store was changed.",
        )
    yield from run(lambda: part.replace(target))
    return target


def _fetch(file: RemoteFile, part: Path) -> Flow[None]:
    """Fills the part, however often the connection breaks, as long as each brings something."""
    num_futile = 0
    while (before := (yield from run(lambda: _size(part)))) is None or before < file.num_bytes:
        try:
            yield from _go_on(file, part, before or 0)
        except (Unavailable, RateLimited) as error:
            now_there = (yield from run(lambda: _size(part))) or 0
            num_futile = 0 if now_there > (before or 0) else num_futile + 1
            if num_futile == FUTILE_TRIES:
                raise _broken(file, now_there, error) from error
            yield BackOff(max(1, num_futile)) if error.retry_after is None else Sleep(error.retry_after)
        else:
            return


def _broken(file: RemoteFile, num_bytes: int, error: Unavailable | RateLimited) -> Unreachable:
    return Unreachable(
        f"the download of {file.name} broke off at {num_bytes} of {file.num_bytes} bytes: {error}",
        was_sent=True,
        hint="The same call goes on from there.",
    )


def _go_on(file: RemoteFile, part: Path, before: int) -> Flow[None]:
    stream = Stream(Request(method="GET", path=file.url, headers=_range_headers(file, before)))
    try:
        answer = require_success((yield from open_stream(stream)))
        if not _is_from(answer, before, file):
            yield from run(lambda: part.write_bytes(b""))
        while (piece := (yield from read_piece(stream))) is not None:
            yield from run(_Append(part, piece))
    except Exception:
        yield Close(stream)
        raise
    yield Close(stream)


def _is_from(answer: Answer, before: int, file: RemoteFile) -> bool:
    """Whether the body begins behind what is there already, rather than at the file's beginning.

    rclone's object store sends a part with the status 200; ``Content-Range`` tells.
    """
    content_range = answer.headers.get("content-range")
    if answer.status != HTTPStatus.PARTIAL_CONTENT and content_range is None:
        return False
    if not (content_range or "").startswith(f"bytes {before}-"):
        raise DamagedDownload(f"{file.name}: the service sent another range", code="object_changed")
    return True


@dataclass(frozen=True, slots=True)
class _Append:
    part: Path
    piece: bytes

    def __call__(self) -> None:
        with self.part.open("ab") as file:
            file.write(self.piece)


def _range_headers(file: RemoteFile, before: int) -> dict[str, str]:
    """An ``If-Range`` with the SHA-256 is the service's own; an object store has other tags."""
    headers = {"Accept-Encoding": "identity"}
    if before:
        headers["Range"] = f"bytes={before}-"
    if before and file.url.startswith("/"):
        headers["If-Range"] = f'"{file.sha256}"'
    return headers


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
