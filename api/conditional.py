"""Requests that depend on what the caller has seen: ``ETag`` and preconditions (RFC 9110, 13)."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Header, Response
from pydantic import BaseModel

from api.dependencies import Composition
from heimdall_core.domain.errors import PreconditionFailed
from heimdall_core.settings import Settings

_PRESIGNED: Final = "download_url"
_CACHE_CONTROL: Final = "private, no-cache"

IfNoneMatch = Annotated[
    str | None,
    Header(max_length=4000, description="`ETag` of a former answer: what is unchanged costs a 304."),
]
IfMatch = Annotated[
    str | None,
    Header(max_length=4000, description="`ETag` of what was read: if it has changed since, a 412."),
]
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "It is as `If-None-Match` says."}
}
PRECONDITION_FAILED: Final[dict[int | str, dict[str, Any]]] = {
    412: {"description": "It is not as `If-Match` says: read it again."}
}


class Conditional:
    """Answers with a document and its ``ETag``, or with 304 if the caller has it."""

    def __init__(self, services: Composition, if_none_match: IfNoneMatch = None) -> None:
        self._settings, self._if_none_match = services.settings, if_none_match

    def answer(self, document: BaseModel) -> Response:
        """The document, unless the caller has it."""
        body = document.model_dump_json().encode()
        headers = {"ETag": etag_of(document, self._settings), "Cache-Control": _CACHE_CONTROL}
        if is_known(self._if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")


def etag_of(document: BaseModel, settings: Settings) -> str:
    """Of the document but for its presigned URLs; with those it changes long before they expire."""
    stripped = document.model_dump(mode="json")
    has_urls = _strip(stripped)
    half_life = max(1, settings.storage.presign_seconds // 2)
    period = int(time.time()) // half_life if has_urls else 0
    text = json.dumps([stripped, period], sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _strip(value: Any) -> bool:
    """Takes presigned URLs out of the document; whether there were any."""
    if isinstance(value, dict):
        found = value.pop(_PRESIGNED, None) is not None
        return sum(map(_strip, value.values()), start=found) > 0
    return isinstance(value, list) and sum(map(_strip, value)) > 0


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Weak comparison (RFC 9110, 13.1.2): a ``W/`` prefix does not count."""
    candidates = [part.removeprefix("W/") for part in _parts(if_none_match)]
    return "*" in candidates or etag in candidates


def require_match(if_match: str | None, document: BaseModel, settings: Settings) -> None:
    """Raises PreconditionFailed unless the document is as the caller has seen it, or it does not care."""
    if if_match is not None and not {"*", etag_of(document, settings)} & set(_parts(if_match)):
        raise changed_since()


def changed_since() -> PreconditionFailed:
    """What a request is answered whose ``If-Match`` no longer holds."""
    return PreconditionFailed(
        "it has changed since it was read", hint="GET it again, and repeat the request with its new ETag."
    )


def job_etag(revision: int, queue: Mapping[str, Any] | None) -> str:
    """The row's revision; and the place in the queue, which changes without the row.

    An estimate alone changes with every look: it makes no new answer.
    """
    return f'"{revision}-{queue["position"]}-{queue["reason"]}"' if queue else f'"{revision}"'


def matching_revisions(if_match: str | None) -> frozenset[int] | None:
    """The revisions of a job's row that a strong ``If-Match`` names; None: any will do.

    The place in the queue is no part of what a request changes: an ETag holds while the row is the same.
    """
    parts = _parts(if_match)
    if if_match is None or "*" in parts:
        return None
    heads = (part.strip('"').partition("-")[0] for part in parts if part.startswith('"'))
    return frozenset(int(head) for head in heads if head.isascii() and head.isdecimal())


def _parts(header: str | None) -> list[str]:
    return [part.strip() for part in (header or "").split(",")]
