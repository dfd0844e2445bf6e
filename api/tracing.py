"""The trace of every request: taken from ``traceparent`` or begun, handed on, and told in each log line."""

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heimdall_core.domain.tracing import Trace, begin_trace, within_trace


class Tracing:
    """Makes the request a step of its caller's trace (W3C Trace Context)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace = begin_trace(headers.get("traceparent"), headers.get("tracestate"))
        with within_trace(trace), structlog.contextvars.bound_contextvars(trace_id=trace.trace_id):
            await self._app(scope, receive, _telling(trace, send))


def _telling(trace: Trace, send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["traceparent"] = trace.traceparent
            if trace.state:
                headers["tracestate"] = trace.state
        await send(message)

    return told
