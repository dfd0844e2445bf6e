"""Transfers to and from the object store that overlap with work, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")

MAX_IN_FLIGHT = 8
MAX_BYTES_IN_FLIGHT = 256 * 2**20


class TransferWindow(Generic[T]):
    """The transfers on their way, oldest first: few, and together not large.

    One alone may be larger than ``MAX_BYTES_IN_FLIGHT``.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._pending: deque[tuple[Future[T], int]] = deque()
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._pending)

    def has_room(self, num_bytes: int) -> bool:
        """Whether a transfer of this size may start now."""
        fits = self._num_bytes + num_bytes <= MAX_BYTES_IN_FLIGHT and len(self) < MAX_IN_FLIGHT
        return fits or not self._pending

    def start(self, transfer: Callable[[], T], *, num_bytes: int) -> None:
        """Begins a transfer in another thread."""
        self._pending.append((self._pool.submit(transfer), num_bytes))
        self._num_bytes += num_bytes

    def finish_oldest(self) -> T:
        """Waits for the oldest transfer; raises what it raised."""
        future, num_bytes = self._pending.popleft()
        self._num_bytes -= num_bytes
        return future.result()


def ahead_of_use(
    pool: ThreadPoolExecutor,
    items: Iterable[Item],
    transfer: Callable[[Item], T],
    *,
    size: Callable[[Item], int],
) -> Iterator[T]:
    """``transfer`` of each item in order, the next ones already on their way."""
    window: TransferWindow[T] = TransferWindow(pool)
    for item in items:
        while not window.has_room(size(item)):
            yield window.finish_oldest()
        window.start(lambda item=item: transfer(item), num_bytes=size(item))  # type: ignore[misc]  # mypy cannot infer a default bound in a loop
    while window:
        yield window.finish_oldest()
