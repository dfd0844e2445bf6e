"""Spans: where the time of a request and of its job goes, told to a collector if there is one."""

from heimdall_core.telemetry.opening import open_spans
from heimdall_core.telemetry.spans import NO_SPANS, Span, Spans, note, step, told_as, within_span

__all__ = ["NO_SPANS", "Span", "Spans", "note", "open_spans", "step", "told_as", "within_span"]
