"""A stored object over HTTP: whole, or in part from where a download broke off (RFC 9110, section 14)."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.problems import problem_response
from heimdall_core.domain.errors import NotFound, StorageUnavailable
from heimdall_core.domain.ports import ObjectStore

_PIECE_BYTES = 1 << 22
"""Read from the store at a time."""
_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
"""No object has a size of more digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An object that never changes."""

    uri: str
    name: str
    sha256: str
    num_bytes: int
    media_type: str

    @property
    def etag(self) -> str:
        """The SHA-256, quoted."""
        return f'"{self.sha256}"'


class RangeNotSatisfiable(Exception):
    """The range lies beyond the end."""


def respond(request: Request, content: Content, store: ObjectStore) -> Response:
    """The object, the part of it that ``Range`` asks for, or 304 and 416.

    A range is honoured if it is one and ``If-Range``, where given, names this content. The first piece is
    read before the answer begins: what cannot be read is a problem document, never a broken 200.

    Raises:
        NotFound: the object is gone.
        StorageUnavailable: the store did not answer, or has something else there.
    """
    headers = _headers(content)
    if _names(request.headers.get("if-none-match"), content.etag):
        return Response(status_code=304, headers=headers)
    try:
        part = _requested(request, content)
    except RangeNotSatisfiable:
        return problem_response(
            request,
            status=416,
            code="range_not_satisfiable",
            detail=f"{content.name} has {content.num_bytes} bytes, none of them in the range",
            headers={"Content-Range": f"bytes */{content.num_bytes}"},
        )
    start, stop = part or (0, content.num_bytes)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.num_bytes}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=content.media_type)
    body = _pieces(content, store, start, stop)
    return StreamingResponse(body, status_code=status, headers=headers, media_type=content.media_type)


def requested_range(value: str, num_bytes: int) -> tuple[int, int] | None:
    """First byte, and the one behind the last, of a ``Range`` header; None where it says nothing usable.

    Raises:
        RangeNotSatisfiable: no byte of the object lies in it.
    """
    found = _ONE_RANGE.fullmatch(value.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, num_bytes - int(last)), num_bytes
    else:
        start, stop = int(first), min(num_bytes, int(last) + 1 if last else num_bytes)
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable
    return start, stop


def _requested(request: Request, content: Content) -> tuple[int, int] | None:
    """Of a GET alone: ``Range`` has no meaning with any other method."""
    if request.method != "GET":
        return None
    wanted, condition = request.headers.get("range"), request.headers.get("if-range")
    if wanted is None or (condition is not None and condition.strip() != content.etag):
        return None
    return requested_range(wanted, content.num_bytes)


def _names(value: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (value or "").split(",")]
    return etag in tags or "*" in tags


def _headers(content: Content) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(content.sha256)).decode()
    return {
        "ETag": content.etag,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": f'attachment; filename="{content.name}"',
    }


def _pieces(content: Content, store: ObjectStore, start: int, stop: int) -> Iterator[bytes]:
    try:
        first = _read(content, store, start, stop)
    except NotFound as error:
        raise NotFound(
            f"the object store has no {content.name} any more",
            code="artifact_gone",
            hint=f"{content.uri} was deleted behind the service's back: restore it, or run the job again.",
        ) from error
    return _rest(first, content, store, start + len(first), stop)


def _rest(first: bytes, content: Content, store: ObjectStore, start: int, stop: int) -> Iterator[bytes]:
    yield first
    while start < stop:
        piece = _read(content, store, start, stop)
        yield piece
        start += len(piece)


def _read(content: Content, store: ObjectStore, start: int, stop: int) -> bytes:
    if start == stop:
        return b""
    num_bytes = min(_PIECE_BYTES, stop - start)
    piece = store.get_bytes(content.uri, offset=start, num_bytes=num_bytes)
    if len(piece) != num_bytes:
        raise StorageUnavailable(
            f"the object store gave {len(piece)} bytes of {content.name} and not {num_bytes}",
            hint=f"{content.uri} was changed behind the service's back: restore it, or run the job again.",
        )
    return piece
