"""Requests served together: while some are being served, those that come gather for the next turn."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

_ITERATIONS: Final = 4
"""Of the loop: sockets, their requests, what those wait for."""
Asked = TypeVar("Asked", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Waiting:
    """What one event loop waits for."""

    futures: dict[Any, "asyncio.Future[Any]"] = field(default_factory=dict)
    serving: "asyncio.Task[None] | None" = None


class Gathering(Generic[Asked, Answer]):
    """Serves what is asked, in turns of one thread; who asks for the same in a turn gets the same answer.

    Alone, a request is served at once. Of many at a time, each turn serves those that came during the last.

    Args:
        serve: answers all of a turn, in the thread; what it leaves out has no answer.
        name: of the thread.
        most: of a turn; None: any number.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Asked]], Mapping[Asked, Answer]],
        *,
        name: str,
        most: int | None = None,
    ) -> None:
        self._serve, self._most = serve, most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()

    @property
    def num_waiting(self) -> int:
        """Requests of the turns to come."""
        return sum(len(waiting.futures) for waiting in self._waiting.values())

    async def ask(self, asked: Asked) -> Answer | None:
        """Its answer, or None if it was given none; raises what its turn raised."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, _Waiting())
        if (future := waiting.futures.get(asked)) is None:
            future = waiting.futures[asked] = loop.create_future()
        if waiting.serving is None:
            waiting.serving = loop.create_task(self._serve_all(loop, waiting))
        answer: Answer | None = await asyncio.shield(future)
        return answer

    async def _serve_all(self, loop: asyncio.AbstractEventLoop, waiting: _Waiting) -> None:
        try:
            while waiting.futures:
                await _settled()
                turn = dict(islice(waiting.futures.items(), self._most))
                for asked in turn:
                    del waiting.futures[asked]
                await self._serve_turn(loop, turn)
        finally:
            waiting.serving = None

    async def _serve_turn(
        self, loop: asyncio.AbstractEventLoop, turn: Mapping[Asked, "asyncio.Future[Answer | None]"]
    ) -> None:
        try:
            answers = await loop.run_in_executor(self._thread, self._serve, tuple(turn))
        except Exception as error:  # noqa: BLE001 - each of those that asked gets it
            for future in turn.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # whoever asked may have gone
        else:
            for asked, future in turn.items():
                if not future.done():
                    future.set_result(answers.get(asked))
        finally:
            for future in turn.values():
                future.cancel()  # does nothing to what has an answer

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


async def _settled() -> None:
    """Lets the loop read and begin what has arrived already: it joins the turn."""
    for _ in range(_ITERATIONS):
        await asyncio.sleep(0)
