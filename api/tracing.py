"""The trace of every request: taken from ``traceparent`` or begun, handed on, and told in each log line."""

from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heimdall_core.domain.tracing import Trace, read_trace
from heimdall_core.telemetry import NO_SPANS, Span, Spans, within_span

_QUIET: Final = ("/livez", "/readyz", "/metrics", "/static")
_FAILED: Final = 500


class Tracing:
    """Makes the request a step of its caller's trace (W3C Trace Context), and tells it as a span."""

    def __init__(self, app: ASGIApp, *, spans: Spans = NO_SPANS) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        span = self._begin(scope)
        exchange = _Exchange(send, span.trace)
        with (
            within_span(span),
            structlog.contextvars.bound_contextvars(trace_id=span.trace.trace_id),
        ):
            try:
                await self._app(scope, receive, exchange.send)
            finally:
                _describe(span, scope, exchange.status)

    def _begin(self, scope: Scope) -> Span:
        """No span for what only asks how the service is."""
        headers = Headers(scope=scope)
        within = read_trace(headers.get("traceparent"), headers.get("tracestate"))
        spans = NO_SPANS if scope["path"].startswith(_QUIET) else self._spans
        asked = {"http.request.method": scope["method"], "url.path": scope["path"]}
        return spans.start(scope["method"], within=within, kind="server", attributes=asked)


class _Exchange:
    """The sending side of one request: tells the caller where it is."""

    def __init__(self, send: Send, trace: Trace) -> None:
        self._send, self._trace = send, trace
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["traceparent"] = self._trace.traceparent
            if self._trace.state:
                headers["tracestate"] = self._trace.state
        await self._send(message)


def _describe(span: Span, scope: Scope, status: int | None) -> None:
    """What is known at the end alone; OpenTelemetry's names for HTTP."""
    if (route := getattr(scope.get("route"), "path", None)) is not None:
        span.rename(f"{scope['method']} {route}")
        span.describe({"http.route": route})
    if (request_id := scope.get("state", {}).get("request_id")) is not None:
        span.describe({"heimdall.request_id": request_id})
    if status is not None:
        span.describe({"http.response.status_code": status})
        if status >= _FAILED:
            span.fail(f"answered {status}")
