"""Spans are told only where a collector is named, by OpenTelemetry's own variables."""

import os
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from heimdall_core.domain.tracing import begin_trace, current_trace
from heimdall_core.telemetry import NO_SPANS, note, open_spans, step, told_as, within_span

PLACE = begin_trace(None)
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    "environment",
    [
        {"PATH": "/bin"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "heimdall"},
        COLLECTOR | {"OTEL_SDK_DISABLED": "true"},
    ],
)
def test_without_a_collector_nothing_is_told(environment):
    with capture_logs() as lines:
        assert open_spans("api", environment) is NO_SPANS
    assert lines == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "zipkin")],
)
def test_what_cannot_be_had_is_said_and_the_process_goes_on(variable, value):
    with capture_logs() as lines:
        assert open_spans("api", COLLECTOR | {variable: value}) is NO_SPANS
    assert variable in lines[0]["reason"]
    assert value in lines[0]["reason"]


def test_a_trace_is_carried_on_though_nobody_is_told():
    with within_span(NO_SPANS.start("request", within=PLACE, kind="server")) as span:
        assert span.trace.trace_id == PLACE.trace_id
        assert span.trace.span_id != PLACE.span_id
        with step("submit job") as submission:
            note({"heimdall.job.id": "job_1"})
            assert submission is not None
            assert current_trace() == submission.trace == span.trace
    assert current_trace() is None


def test_a_step_of_nothing_is_nothing():
    @told_as("work")
    def work():
        return current_trace()

    assert work() is None


def test_without_a_collector_opentelemetry_is_not_even_imported():
    code = (
        "import sys; from heimdall_core.telemetry import open_spans; open_spans('api'); "
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=clean
    )
    assert answer.stdout.strip() == "False", answer.stderr
