"""What a collector is told of an attempt, whatever became of its trainer."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from heimdall_core.domain.tracing import Trace, begin_trace
from heimdall_core.jobs.claiming import Claim
from worker.attempt_spans import AttemptSpans

PLACE = begin_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@dataclass
class Recorded:
    """A span that keeps what it is told."""

    name: str
    trace: Trace
    began_at: float | None = None
    ended_at: float | str | None = "open"
    facts: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    failure: str | None = None
    children: list["Recorded"] = field(default_factory=list)

    def child(self, name: str, *, kind: str = "internal", at: float | None = None) -> "Recorded":
        self.children.append(Recorded(name, self.trace.child(), at))
        return self.children[-1]

    def rename(self, name: str) -> None:
        self.name = name

    def describe(self, attributes: Any) -> None:
        self.facts |= attributes

    def event(self, name: str, attributes: Any, *, at: float | None = None) -> None:
        self.events.append((name, dict(attributes)))

    def fail(self, reason: str) -> None:
        self.failure = reason

    def end(self, *, at: float | None = None) -> None:
        self.ended_at = at


class RecordedSpans:
    """Keeps the one span that is begun."""

    def __init__(self) -> None:
        self.attempt: Any = None

    def start(self, name: str, *, within: Trace | None, kind: str = "", attributes: Any = None) -> Any:
        assert within is not None
        self.attempt = Recorded(name, within.child(), facts=dict(attributes))
        return self.attempt

    def close(self) -> None:
        """Has nothing to send."""


@pytest.fixture
def claim() -> Claim:
    return Claim(
        job_id="job_1",
        attempt=2,
        lease_owner="w@a",
        kind="train",
        owner="ann",
        spec={},
        inputs={},
        max_attempts=3,
        failures=1,
        waited_seconds=4.5,
        adjustments={},
        runtime_left_seconds=None,
        trace=PLACE,
    )


def test_each_phase_ends_where_the_next_begins(claim: Claim) -> None:
    recorded = RecordedSpans()
    spans = AttemptSpans(recorded, claim)
    spans.phase("preparing", at=10.0)
    spans.event("features_ready", {"cached": True, "error": None, "list": [1]})
    spans.phase("training", at=12.5)
    spans.end()
    attempt = recorded.attempt
    assert [(p.name, p.began_at, p.ended_at) for p in attempt.children] == [
        ("preparing", 10.0, 12.5),
        ("training", 12.5, None),
    ]
    assert attempt.children[0].events == [("features_ready", {"cached": True})]
    assert attempt.ended_at is None
    assert spans.trace.trace_id == PLACE.trace_id
    assert (attempt.facts["heimdall.job.attempt"], attempt.facts["heimdall.job.waited_seconds"]) == (2, 4.5)


def test_a_trainer_that_was_killed_fails_the_phase_that_it_was_in(claim: Claim) -> None:
    recorded = RecordedSpans()
    spans = AttemptSpans(recorded, claim)
    spans.phase("preparing", at=10.0)
    spans.phase("training", at=12.5)
    spans.fail("trainer_killed", "the trainer ended by signal 9")
    spans.end()
    preparing, training = recorded.attempt.children
    assert preparing.failure is None
    assert training.failure == recorded.attempt.failure == "the trainer ended by signal 9"
    assert training.facts["error.type"] == "trainer_killed"
    assert training.ended_at is None


def test_an_attempt_that_never_began_fails_as_a_whole(claim: Claim) -> None:
    recorded = RecordedSpans()
    spans = AttemptSpans(recorded, claim)
    spans.event("job.phase", {})
    spans.fail("fork_server_down", "the fork server died")
    spans.end()
    assert (recorded.attempt.failure, recorded.attempt.children) == ("the fork server died", [])
