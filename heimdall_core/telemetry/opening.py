"""Whether spans are told, and to whom: by OpenTelemetry's own environment variables.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
from collections.abc import Mapping

import structlog

from heimdall_core.telemetry.spans import NO_SPANS, Spans

_HTTP = "http/protobuf"
_log = structlog.get_logger(__name__)


def open_spans(service: str, environment: Mapping[str, str] | None = None) -> Spans:
    """The spans of a process, told by OTLP over HTTP where the environment names a collector.

    Without one OpenTelemetry is not even imported. What cannot be had is said in the log, and the process
    goes on without spans.

    Args:
        service: ``service.name``, unless ``OTEL_SERVICE_NAME`` says another.
        environment: Default: the process's own.
    """
    given = {name: value for name, value in (environment or os.environ).items() if value}
    endpoint = _endpoint(given)
    if endpoint is None or given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NO_SPANS
    if reason := _unsupported(given):
        _log.error("spans_not_told", reason=reason)
        return NO_SPANS
    try:
        from heimdall_core.telemetry.otlp import OtlpSpans
    except ImportError as error:
        _log.error(
            "spans_not_told", reason=str(error), remedy="install opentelemetry-exporter-otlp-proto-http"
        )
        return NO_SPANS
    return OtlpSpans(given.get("OTEL_SERVICE_NAME", service), endpoint)


def _endpoint(given: Mapping[str, str]) -> str | None:
    if whole := given.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return whole
    base = given.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return base and f"{base.rstrip('/')}/v1/traces"


def _unsupported(given: Mapping[str, str]) -> str | None:
    """What the environment asks for beside it and cannot have."""
    exporter = given.get("OTEL_TRACES_EXPORTER", "otlp")
    protocol = given.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or given.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if exporter != "otlp":
        return f"OTEL_TRACES_EXPORTER is {exporter!r}; only otlp is supported"
    if protocol not in {None, _HTTP}:
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; only {_HTTP} is supported"
    return None
