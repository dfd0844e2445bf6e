"""Which request a piece of work belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context/)."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_STATE_CHARS = 512
_SAMPLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A place in a trace."""

    trace_id: str
    """32 hexadecimal digits, the same for everything that one request causes."""
    span_id: str
    """16 hexadecimal digits: who speaks."""
    flags: int = _SAMPLED
    state: str | None = None
    """``tracestate``, handed on as it came."""

    @property
    def traceparent(self) -> str:
        """The header that tells the next one where it is."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def child(self) -> "Trace":
        """The same trace, one step further."""
        return replace(self, span_id=_new_id(8))


def begin_trace(traceparent: str | None, tracestate: str | None = None) -> Trace:
    """The caller's trace, one step further; a new one if it has none, or none that can be read."""
    former = read_trace(traceparent, tracestate)
    return former.child() if former else Trace(trace_id=_new_id(16), span_id=_new_id(8))


def read_trace(traceparent: str | None, tracestate: str | None = None) -> Trace | None:
    """The place that the two headers name; None if they name none."""
    match = _TRACEPARENT.fullmatch((traceparent or "").strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    is_known = version != "ff" and not (version == "00" and rest)
    if not is_known or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(
        trace_id=trace_id, span_id=span_id, flags=int(flags, 16) & _SAMPLED, state=_checked_state(tracestate)
    )


def current_trace() -> Trace | None:
    """The trace that this thread or task works for."""
    return _current.get()


@contextmanager
def within_trace(trace: Trace | None) -> Iterator[None]:
    """Makes it the current trace."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


_current: ContextVar[Trace | None] = ContextVar("heimdall_trace", default=None)


def _checked_state(state: str | None) -> str | None:
    """What is not printable or too long is dropped, as the standard allows."""
    is_fit = state and len(state) <= _MAX_STATE_CHARS and state.isascii() and state.isprintable()
    return state if is_fit else None


def _new_id(num_bytes: int) -> str:
    return secrets.token_hex(num_bytes)
