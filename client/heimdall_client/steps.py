"""What a flow asks its shell to do: the one border between this package's logic and any input or output.

A flow is a generator that yields steps and is sent their results; what a step raises is thrown into it. All
logic (retries, paging, streams, downloads) is written once, as flows; a blocking and an asynchronous shell
perform the steps.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from heimdall_client.exchanges import Answer, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """A request, repeated as the client's policy says; the result is a successful ``Answer``."""

    request: Request


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, once; the result is an ``Answer`` of any status. Raises Unreachable."""

    request: Request


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class BackOff:
    """The pause that the client's policy makes after so many failures."""

    num_failures: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The result is a number of seconds that only grows."""


@dataclass(frozen=True, slots=True)
class Run(Generic[T]):
    """Work on local files, which an event loop must not wait for; the result is its own."""

    work: Callable[[], T]


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A body that is read piece by piece."""

    request: Request
    silence_seconds: float | None = None
    """How long it may be silent before it counts as broken; None: as any answer."""
    _identity: object = field(default_factory=object)


@dataclass(frozen=True, slots=True)
class Open:
    """Sends the stream's request, once; the result is an ``Answer``, whose body is there if it refuses."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Read:
    """The result is the next piece, or None at the end. Raises Unreachable where the stream breaks."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the stream, also one that has not been read to its end or not been opened."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """An item for the caller."""

    item: T


Step: TypeAlias = Send | Exchange | Sleep | BackOff | Clock | Run[Any] | Open | Read | Close
Flow: TypeAlias = Generator[Step, Any, T]
"""Ends in one result."""
Feed: TypeAlias = Generator[Step | Emit[T], Any, None]
"""Gives items until it ends."""


def send(request: Request) -> Flow[Answer]:
    """A successful answer, after as many tries as the policy allows.

    Raises:
        HeimdallError: the service refused, or did not answer.
    """
    answer = yield Send(request)
    assert isinstance(answer, Answer)
    return answer


def exchange(request: Request) -> Flow[Answer]:
    """An answer of any status, after one try.

    Raises:
        Unreachable: there was none.
    """
    answer = yield Exchange(request)
    assert isinstance(answer, Answer)
    return answer


def open_stream(stream: Stream) -> Flow[Answer]:
    """The head of the stream's answer.

    Raises:
        Unreachable: there was none.
    """
    answer = yield Open(stream)
    assert isinstance(answer, Answer)
    return answer


def read_piece(stream: Stream) -> Flow[bytes | None]:
    """The stream's next piece, or None at its end.

    Raises:
        Unreachable: it broke.
    """
    piece = yield Read(stream)
    assert piece is None or isinstance(piece, bytes)
    return piece


def now() -> Flow[float]:
    """Seconds that only grow."""
    seconds = yield Clock()
    assert isinstance(seconds, float)
    return seconds


def run(work: Callable[[], T]) -> Flow[T]:
    """The result of work on local files."""
    result: T = yield Run(work)
    return result
