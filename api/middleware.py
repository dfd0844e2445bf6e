"""Around every request: its id, its log line, the last resort for errors, and a bound on bodies."""

import re
import time
import uuid
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response

_log = structlog.get_logger("api")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET: Final = ("/livez", "/readyz", "/static")

BODY_LIMIT: Final = 1 << 20
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
        await self._send(message)

    async def send_failure(self, scope: Scope, receive: Receive) -> None:
        if self.status is None:
            detail = "The service failed to answer; its log knows why, under the request_id."
            response = problem_response(Request(scope), status=500, code="internal_error", detail=detail)
            await response(scope, receive, self.send)


class BodyLimit:
    """Refuses bodies that are larger than a path takes, before they are read into memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = UPLOADS_BODY_LIMIT if scope["path"] == "/v1/uploads" else BODY_LIMIT
        if _stated_length(scope) > limit:
            await _too_large(Request(scope), limit)(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, limit), send)


def _bounded(receive: Receive, limit: int) -> Receive:
    num_bytes = 0

    async def bounded() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > limit:
            raise HTTPException(413, detail=f"the body is larger than {limit} bytes")
        return message

    return bounded


def _too_large(request: Request, limit: int) -> ASGIApp:
    detail = f"the body is larger than {limit} bytes"
    return problem_response(request, status=413, code="body_too_large", detail=detail)


def _stated_length(scope: Scope) -> int:
    stated = Headers(scope=scope).get("content-length", "")
    return int(stated) if stated.isdecimal() else 0


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
