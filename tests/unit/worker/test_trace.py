"""A trainer belongs to the trace of the request that made its job."""

import os

import pytest
import structlog

from worker.trainer_process import join_trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _nothing_bound(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "of the worker")
    monkeypatch.setenv("TRACESTATE", "of the worker")
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


def test_a_job_without_a_trace_does_not_take_that_of_the_worker():
    join_trace({"job_id": "job_1", "attempt": 1})
    assert "TRACEPARENT" not in os.environ
    assert structlog.contextvars.get_contextvars() == {"job_id": "job_1", "attempt": 1}


def test_log_lines_and_children_carry_the_trace():
    join_trace({"job_id": "job_1", "attempt": 2, "traceparent": PARENT, "tracestate": "v=1"})
    assert structlog.contextvars.get_contextvars()["trace_id"] == PARENT[3:35]
    assert (os.environ["TRACEPARENT"], os.environ["TRACESTATE"]) == (PARENT, "v=1")
