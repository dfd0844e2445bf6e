"""A span: one step of a trace, with its beginning, its end and what is worth knowing of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Literal, ParamSpec, Protocol, TypeVar

from heimdall_core.domain.tracing import Trace, begin_trace, within_trace

Attributes = Mapping[str, str | int | float | bool]
SpanKind = Literal["internal", "server", "producer", "consumer"]
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Span(Protocol):
    """A step that has begun. No method waits for anything."""

    @property
    def trace(self) -> Trace:
        """Its place, from which what it causes goes on."""
        ...

    def child(self, name: str, *, kind: SpanKind = "internal", at: float | None = None) -> "Span":
        """Begins a step of this one; ``at``: Unix time, default: now."""
        ...

    def rename(self, name: str) -> None:
        """What it is called, where that is known late."""
        ...

    def describe(self, attributes: Attributes) -> None:
        """Adds to what is known of it."""
        ...

    def event(self, name: str, attributes: Attributes, *, at: float | None = None) -> None:
        """Something that happened within it."""
        ...

    def fail(self, reason: str) -> None:
        """It went wrong."""
        ...

    def end(self, *, at: float | None = None) -> None:
        """It is over; what is said of it later does not count."""
        ...


class Spans(Protocol):
    """Begins spans of one process and tells a collector of them when they have ended."""

    def start(
        self,
        name: str,
        *,
        within: Trace | None,
        kind: SpanKind = "internal",
        attributes: Attributes | None = None,
    ) -> Span:
        """Begins a span one step below ``within``; None: a new trace."""
        ...

    def close(self) -> None:
        """Tells what is left to tell, within a few seconds."""
        ...


@dataclass(frozen=True, slots=True)
class _Untold:
    """The place in a trace alone."""

    trace: Trace

    def child(self, name: str, *, kind: SpanKind = "internal", at: float | None = None) -> Span:
        """The same place: nobody is told that there is another."""
        del name, kind, at
        return self

    def rename(self, name: str) -> None:
        """Nobody asks."""

    def describe(self, attributes: Attributes) -> None:
        """Nobody asks."""

    def event(self, name: str, attributes: Attributes, *, at: float | None = None) -> None:
        """Nobody asks."""

    def fail(self, reason: str) -> None:
        """Nobody asks."""

    def end(self, *, at: float | None = None) -> None:
        """Nobody asks."""


class _NoSpans:
    """There is no collector: traces are carried on, and their spans forgotten."""

    def start(
        self,
        name: str,
        *,
        within: Trace | None,
        kind: SpanKind = "internal",
        attributes: Attributes | None = None,
    ) -> Span:
        del name, kind, attributes
        return _Untold(within.child() if within else begin_trace(None))

    def close(self) -> None:
        return


NO_SPANS: Spans = _NoSpans()


@contextmanager
def within_span(span: Span) -> Iterator[Span]:
    """Makes it the current span, and ends it; an exception that leaves is its failure."""
    token = _current.set(span)
    try:
        with within_trace(span.trace):
            yield span
    except Exception as error:
        span.fail(f"{type(error).__name__}: {error}")
        raise
    finally:
        _current.reset(token)
        span.end()


@contextmanager
def step(name: str, *, kind: SpanKind = "internal") -> Iterator[Span | None]:
    """A step of the current span; None where there is none."""
    span = _current.get()
    if span is None:
        yield None
        return
    with within_span(span.child(name, kind=kind)) as begun:
        yield begun


def note(attributes: Attributes) -> None:
    """Adds to what is known of the current span, if there is one."""
    if (span := _current.get()) is not None:
        span.describe(attributes)


def told_as(name: str, *, kind: SpanKind = "internal") -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Makes each call of a function a step of the current span."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @wraps(function)
        def told(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with step(name, kind=kind):
                return function(*args, **kwargs)

        return told

    return decorate


_current: ContextVar[Span | None] = ContextVar("heimdall_span", default=None)
