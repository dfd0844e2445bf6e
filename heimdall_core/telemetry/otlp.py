"""Spans told by OTLP over HTTP, with a tracer provider of our own: MLflow has the global one."""

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

import structlog
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from heimdall_core.domain.tracing import Trace
from heimdall_core.telemetry.spans import Attributes, Span, SpanKind

CLOSE_SECONDS = 3.0
_NANOSECONDS = 1e9
_log = structlog.get_logger(__name__)
_KINDS = {
    "internal": otel.SpanKind.INTERNAL,
    "server": otel.SpanKind.SERVER,
    "producer": otel.SpanKind.PRODUCER,
    "consumer": otel.SpanKind.CONSUMER,
}


class OtlpSpans:
    """Gathers ended spans and sends them from a thread of its own; what a collector does not take is dropped.

    Sampling, limits, batches, headers and certificates are as OpenTelemetry's variables say.
    """

    def __init__(self, service: str, endpoint: str) -> None:
        """``endpoint``: the whole URL, such as ``http://collector:4318/v1/traces``."""
        names = {
            "service.name": service,
            "service.namespace": "heimdall",
            "service.version": version("heimdall-training"),
            "service.instance.id": f"{os.uname().nodename}:{os.getpid()}",
        }
        # At exit it is `close` that ends it, in bounded time.
        self._provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(endpoint)))
        self._tracer = self._provider.get_tracer("heimdall", names["service.version"])

    def start(
        self,
        name: str,
        *,
        within: Trace | None,
        kind: SpanKind = "internal",
        attributes: Attributes | None = None,
    ) -> Span:
        """Begins a span one step below ``within``; None: a new trace."""
        return _begin(self._tracer, name, within, kind, attributes=attributes)

    def close(self) -> None:
        """Sends what is left; a collector that is away is not waited for."""
        last = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(CLOSE_SECONDS)


class _Exporter(SpanExporter):
    """Says once that the collector is away, and once that it is back."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint, self._is_away = endpoint, False
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        # It would say so at each try.
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends them; those that are not taken are lost."""
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            _log.warning("collector_away", endpoint=self._endpoint, lost_spans=len(spans))
        elif self._is_away and not is_away:
            _log.info("collector_back", endpoint=self._endpoint)
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        """Gives up what it was sending."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # as the exporter states no types


class _OtlpSpan:
    def __init__(self, tracer: otel.Tracer, span: otel.Span, state: str | None) -> None:
        self._tracer, self._span = tracer, span
        context = span.get_span_context()
        self.trace = Trace(
            trace_id=otel.format_trace_id(context.trace_id),
            span_id=otel.format_span_id(context.span_id),
            flags=context.trace_flags & TraceFlags.SAMPLED,
            state=state,
        )

    def child(self, name: str, *, kind: SpanKind = "internal", at: float | None = None) -> Span:
        return _begin(self._tracer, name, self.trace, kind, at=at)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def describe(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def event(self, name: str, attributes: Attributes, *, at: float | None = None) -> None:
        self._span.add_event(name, attributes, _nanoseconds(at))

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self, *, at: float | None = None) -> None:
        if self._span.is_recording():
            self._span.end(_nanoseconds(at))


def _begin(
    tracer: otel.Tracer,
    name: str,
    within: Trace | None,
    kind: SpanKind,
    *,
    at: float | None = None,
    attributes: Attributes | None = None,
) -> Span:
    # Never the process's current context: in it are the spans of others.
    context = Context() if within is None else _context(within)
    span = tracer.start_span(
        name, context, kind=_KINDS[kind], attributes=attributes, start_time=_nanoseconds(at)
    )
    return _OtlpSpan(tracer, span, None if within is None else within.state)


def _context(place: Trace) -> Context:
    parent = SpanContext(
        trace_id=int(place.trace_id, 16),
        span_id=int(place.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(place.flags),
        trace_state=_state(place.state),
    )
    return otel.set_span_in_context(NonRecordingSpan(parent), Context())


def _state(header: str | None) -> TraceState | None:
    """The vendor's part; what OpenTelemetry cannot read still goes on as it came, in ``Trace.state``."""
    with suppress(ValueError):
        return TraceState.from_header([header]) if header else None
    return None


def _nanoseconds(at: float | None) -> int | None:
    return None if at is None else int(at * _NANOSECONDS)
