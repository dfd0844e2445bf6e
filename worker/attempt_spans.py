"""The spans of one attempt: itself, and each phase of its trainer.

The supervisor tells them, at the times that the trainer states: so they are told of a trainer that was killed
too, and no trainer has a thread or a connection for them.
"""

from collections.abc import Mapping
from typing import Any

from heimdall_core.jobs.claiming import Claim
from heimdall_core.telemetry import Span, Spans
from heimdall_core.telemetry.spans import Attributes


class AttemptSpans:
    """Below the span of the request that made the job, whose place its row has kept."""

    def __init__(self, spans: Spans, claim: Claim) -> None:
        facts: Attributes = {
            "heimdall.job.id": claim.job_id,
            "heimdall.job.kind": claim.kind,
            "heimdall.job.attempt": claim.attempt,
            "heimdall.job.waited_seconds": round(claim.waited_seconds, 3),
        }
        name = f"{claim.kind} attempt"
        self._attempt = spans.start(name, within=claim.trace, kind="consumer", attributes=facts)
        self._phase: Span | None = None
        self.trace = self._attempt.trace

    def phase(self, name: str, *, at: float | None = None) -> None:
        """A new phase begins, and the former ends; ``at``: Unix time, default: now."""
        if self._phase is not None:
            self._phase.end(at=at)
        self._phase = self._attempt.child(name, at=at)

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Something that the trainer tells; of what it says only plain facts."""
        facts = {key: value for key, value in data.items() if isinstance(value, str | int | float | bool)}
        (self._phase or self._attempt).event(name, facts)

    def fail(self, code: str, message: str) -> None:
        """The attempt went wrong, in the phase that it was in."""
        for span in (self._phase, self._attempt):
            if span is not None:
                span.describe({"error.type": code})
                span.fail(message)

    def end(self) -> None:
        """The attempt is over."""
        if self._phase is not None:
            self._phase.end()
        self._attempt.end()
