"""Around every request: its id, its log line, the last resort for errors, and a bound on bodies."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import RETRY_AFTER_SECONDS, problem_response

_log = structlog.get_logger("api")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET: Final = ("/livez", "/readyz", "/static")
_NO_PAGE: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Of what is no page: a file of a job that a browser opens runs nothing, and nothing in our name."""

BODY_SECONDS: Final = 20.0
BODY_BYTES_PER_SECOND: Final = 128 * 1024
"""A body has ``BODY_SECONDS``, and as long besides as its largest size takes at this rate."""
BODY_LIMIT: Final = 1 << 20
_LENGTH_DIGITS: Final = 20
"""Of a stated length; what has more of them is too large whatever they are."""
BODIES_LIMIT: Final = 256 << 20
"""Of all requests that are being served at a time."""
UPLOADS_BODY_LIMIT: Final = 16 << 20
"""Room for the names of ``uploads.MAX_FILES`` files."""


class RequestContext:
    """Takes or makes ``X-Request-Id``, logs one line, and turns what nobody caught into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(send, request_id)
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, exchange.send)
            except Exception:  # noqa: BLE001 - the last resort; whatever it is, the caller gets a problem
                _log.exception("request_failed", method=scope["method"], path=scope["path"])
                await exchange.send_failure(scope, receive)
            _log_request(scope, exchange.status, time.perf_counter() - started)


class _Exchange:
    """The sending side of one request."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("Content-Security-Policy", _NO_PAGE)
        await self._send(message)

    async def send_failure(self, scope: Scope, receive: Receive) -> None:
        if self.status is None:
            detail = "The service failed to answer; its log knows why, under the request_id."
            response = problem_response(Request(scope), status=500, code="internal_error", detail=detail)
            await response(scope, receive, self.send)


class BodyLimit:
    """Refuses bodies that are larger than a path takes, before they are in memory, and those that dawdle.

    Nobody has to be known to send a body: all that are in memory at a time are bounded too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._num_bytes_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = UPLOADS_BODY_LIMIT if scope["path"] == "/v1/uploads" else BODY_LIMIT
        if _stated_length(scope) > limit:
            await _too_large(Request(scope), limit)(scope, receive, send)
            return
        body = _Body(receive, limit, self._hold)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._hold(-body.num_bytes)

    def _hold(self, num_bytes: int) -> bool:
        """Counts bytes that came, or with a minus sign went; whether there is room for them."""
        self._num_bytes_held += num_bytes
        return self._num_bytes_held <= BODIES_LIMIT


class _Body:
    """A body in bounded size and time; what comes after it, a disconnection, takes any time."""

    def __init__(self, receive: Receive, limit: int, hold: Callable[[int], bool]) -> None:
        self._receive, self._limit, self._hold = receive, limit, hold
        seconds = BODY_SECONDS + limit / BODY_BYTES_PER_SECOND
        self._deadline: float | None = asyncio.get_running_loop().time() + seconds
        self.num_bytes = 0

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, detail="the body did not come in time") from error
        self._count(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self._deadline = None
        return message

    def _count(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        has_room = self._hold(num_bytes)
        if self.num_bytes > self._limit:
            raise HTTPException(413, detail=f"the body is larger than {self._limit} bytes")
        if not has_room:
            detail = "the service holds as many bodies as it can"
            raise HTTPException(503, detail=detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _too_large(request: Request, limit: int) -> ASGIApp:
    detail = f"the body is larger than {limit} bytes"
    return problem_response(request, status=413, code="body_too_large", detail=detail)


def _stated_length(scope: Scope) -> int:
    stated = Headers(scope=scope).get("content-length", "")
    return int(stated[:_LENGTH_DIGITS]) if stated.isdecimal() else 0


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _log_request(scope: Scope, status: int | None, seconds: float) -> None:
    route = scope.get("route")
    template = getattr(route, "path", None) or (
        "/static" if scope["path"].startswith("/static") else "unknown"
    )
    write = _log.debug if template.startswith(_QUIET) else _log.info
    write(
        "request",
        method=scope["method"],
        path=template,
        status=status,
        duration_ms=round(seconds * 1e3, 1),
    )
