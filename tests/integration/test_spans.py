"""Spans as a collector gets them, and collectors that do not get them: over real sockets."""

import socket
import time

import pytest
from opentelemetry import trace as otel
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from api.tracing import Tracing
from heimdall_core.domain.tracing import read_trace
from heimdall_core.telemetry import Spans, open_spans, otlp, within_span
from heimdall_core.telemetry.otlp import OtlpSpans
from tests.integration.otlp_receiver import OtlpReceiver, otlp_receiver

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
VARIABLES = ("TRACES_SAMPLER", "TRACES_SAMPLER_ARG", "RESOURCE_ATTRIBUTES", "SERVICE_NAME")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


@pytest.fixture
def collector():
    with otlp_receiver() as receiver:
        yield receiver


def serve(spans: Spans, path: str, *, status: int = 200, **headers: str) -> None:
    async def answer(scope, receive, send):
        del receive
        scope["state"]["request_id"] = "req_1"
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    TestClient(Tracing(answer, spans=spans)).get(path, headers=headers)


def told(spans: Spans, collector: OtlpReceiver) -> list[str]:
    spans.close()
    return sorted(span["name"] for span in collector.spans())


def test_a_request_that_failed_is_told_as_such_and_its_query_is_not(collector):
    spans = OtlpSpans("heimdall-api", collector.endpoint)
    serve(spans, "/v1/jobs?token=secret", status=503, Authorization="Bearer hmd_secret")
    spans.close()
    (span,) = collector.spans()
    assert (span["failed"], span["http.response.status_code"]) == ("answered 503", 503)
    assert (span["url.path"], span["heimdall.request_id"]) == ("/v1/jobs", "req_1")
    assert not any(b"secret" in request.SerializeToString() for request in collector.requests)


def test_what_only_asks_how_the_service_is_makes_no_span(collector):
    spans = OtlpSpans("heimdall-api", collector.endpoint)
    for path in ("/livez", "/readyz", "/metrics", "/static/a.css"):
        serve(spans, path)
    assert told(spans, collector) == []


def test_what_the_caller_does_not_sample_is_carried_on_and_not_told(collector):
    spans = OtlpSpans("heimdall-api", collector.endpoint)
    span = spans.start("request", within=read_trace(PARENT + "0", "vendor=1"))
    assert (span.trace.flags, span.trace.state) == (0, "vendor=1")
    assert span.trace.trace_id == PARENT[3:35]
    span.end()
    spans.start("another", within=read_trace(PARENT + "1")).end()
    assert told(spans, collector) == ["another"]


def test_a_sampler_of_the_environment_is_heeded(collector, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    spans = OtlpSpans("heimdall-api", collector.endpoint)
    spans.start("request", within=None).end()
    assert told(spans, collector) == []


def test_the_environment_names_collector_and_service(collector, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    base = collector.endpoint.removesuffix("/v1/traces")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": base + "/", "OTEL_SERVICE_NAME": "mine"}
    spans = open_spans("heimdall-api", environment)
    spans.start("request", within=None).end()
    spans.close()
    assert [span["service"] for span in collector.spans()] == ["mine"]
    assert b"deployment.environment.name" in collector.requests[0].SerializeToString()


def test_the_spans_of_other_libraries_are_neither_taken_nor_disturbed(collector):
    theirs = otel.get_tracer_provider()
    spans = OtlpSpans("heimdall-worker", collector.endpoint)
    assert otel.get_tracer_provider() is theirs
    foreign = otel.NonRecordingSpan(otel.SpanContext(1, 1, is_remote=False, trace_flags=otel.TraceFlags(1)))
    with otel.use_span(foreign), within_span(spans.start("ours", within=None)):
        assert otel.get_current_span() is foreign
    spans.close()
    assert [span["parent_id"] for span in collector.spans()] == [""]


def test_a_collector_that_never_answers_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        spans = OtlpSpans("heimdall-api", f"http://127.0.0.1:{deaf.getsockname()[1]}/v1/traces")
        began = time.monotonic()
        for _ in range(5000):  # more than the queue holds
            spans.start("request", within=None).end()
        told_in = time.monotonic() - began
        began = time.monotonic()
        spans.close()
        closed_in = time.monotonic() - began
    assert told_in < 5
    assert closed_in < 2


def test_a_collector_that_is_away_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.3)
    with socket.socket() as taken, capture_logs() as lines:
        taken.bind(("127.0.0.1", 0))
        spans = OtlpSpans("heimdall-api", f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces")
        for _ in range(3):
            spans.start("request", within=None).end()
        began = time.monotonic()
        spans.close()
    assert time.monotonic() - began < 2
    assert [line["event"] for line in lines] in ([], ["collector_away"])
