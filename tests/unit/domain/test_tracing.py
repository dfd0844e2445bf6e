"""W3C Trace Context."""

import pytest

from heimdall_core.domain.tracing import begin_trace, current_trace, read_trace, within_trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "made up",
        PARENT.upper(),
        PARENT + "-extra",
        PARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_what_names_no_trace_begins_a_new_one(header):
    assert read_trace(header) is None
    assert begin_trace(header).trace_id != TRACE


def test_a_trace_goes_on_with_a_span_of_its_own():
    trace = begin_trace(PARENT, "vendor=1")
    assert (trace.trace_id, trace.state) == (TRACE, "vendor=1")
    assert trace.traceparent != PARENT
    assert read_trace(trace.traceparent, "vendor=1") == trace


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert read_trace(f"01-{TRACE}-00f067aa0ba902b7-01-more").trace_id == TRACE


@pytest.mark.parametrize("state", ["x" * 513, "a\x00b", "ä=1"])
def test_a_state_that_cannot_be_handed_on_is_dropped(state):
    assert read_trace(PARENT, state).state is None


def test_the_current_trace_ends_with_its_block():
    with within_trace(begin_trace(PARENT)):
        assert current_trace().trace_id == TRACE
    assert current_trace() is None
