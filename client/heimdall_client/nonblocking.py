"""The asynchronous shell: performs the steps of flows with ``httpx.AsyncClient``."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from heimdall_client.configuration import Configuration
from heimdall_client.exchanges import Answer, Request
from heimdall_client.retrying import send_repeatedly
from heimdall_client.steps import (
    BackOff,
    Clock,
    Close,
    Emit,
    Exchange,
    Feed,
    Flow,
    Open,
    Read,
    Run,
    Send,
    Sleep,
    Step,
    Stream,
)
from heimdall_client.transport import (
    FILE_PIECE_BYTES,
    LIMITS,
    answer_of,
    is_refused,
    prepare,
    timeout_of,
    translated,
)

T = TypeVar("T")


class AsyncShell:
    """Performs steps one after another; tasks of one event loop may share it."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.configuration = configuration
        self._sleep, self._clock = sleep, clock
        self._http = httpx.AsyncClient(
            timeout=timeout_of(configuration),
            trust_env=not configuration.is_local,
            transport=transport,
            limits=LIMITS,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """The result of a flow."""
        opened: dict[Stream, _OpenStream] = {}
        try:
            reply: Any = None
            error: BaseException | None = None
            while True:
                step = flow.send(reply) if error is None else flow.throw(error)
                reply, error = await self._attempt(step, opened)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            await _close_all(flow, opened)

    async def iterate(self, feed: Feed[T]) -> AsyncIterator[T]:
        """The items of a feed; closing the iterator ends the feed."""
        opened: dict[Stream, _OpenStream] = {}
        try:
            reply: Any = None
            error: BaseException | None = None
            while True:
                step = feed.send(reply) if error is None else feed.throw(error)
                if isinstance(step, Emit):
                    reply, error = None, None
                    yield step.item
                else:
                    reply, error = await self._attempt(step, opened)
        except StopIteration:
            return
        finally:
            await _close_all(feed, opened)

    async def _attempt(
        self, step: Step, opened: "dict[Stream, _OpenStream]"
    ) -> tuple[Any, BaseException | None]:
        try:
            return await self._perform(step, opened), None
        except Exception as error:  # noqa: BLE001 - the flow decides what becomes of it
            return None, error

    async def _perform(self, step: Step, opened: "dict[Stream, _OpenStream]") -> Any:  # noqa: PLR0911 - one for each kind
        match step:
            case Send(request):
                return await self.run(send_repeatedly(request, self.configuration.retry))
            case Exchange(request):
                return await self._exchange(request)
            case Sleep(seconds):
                return await self._sleep(seconds)
            case BackOff(num_failures):
                return await self._sleep(self.configuration.retry.backoff(num_failures))
            case Clock():
                return self._clock()
            case Run(work):
                return await asyncio.to_thread(work)
            case Open(stream):
                opened[stream] = _OpenStream(self.configuration.url_of(stream.request))
                return await opened[stream].open(self._http, self.configuration, stream)
            case Read(stream):
                return await opened[stream].read()
            case Close(stream):
                return await opened.pop(stream).close() if stream in opened else None

    async def _exchange(self, request: Request) -> Answer:
        with translated(self.configuration.url_of(request)):
            pieces = None if request.file is None else _pieces_of(request.file)
            response = await self._http.send(prepare(self._http, self.configuration, request, pieces=pieces))
        return answer_of(response, response.content)


class _OpenStream:
    """An answer whose body is read piece by piece; that of a refusal is read at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def open(self, http: httpx.AsyncClient, configuration: Configuration, stream: Stream) -> Answer:
        prepared = prepare(http, configuration, stream.request, silence_seconds=stream.silence_seconds)
        with translated(self._url):
            self._response = await http.send(prepared, stream=True)
            content = await self._response.aread() if is_refused(self._response) else b""
        self._pieces = self._response.aiter_bytes()
        return answer_of(self._response, content)

    async def read(self) -> bytes | None:
        assert self._pieces is not None
        with translated(self._url):
            return await anext(self._pieces, None)

    async def close(self) -> None:
        if self._response is not None:
            await self._response.aclose()


async def _pieces_of(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, FILE_PIECE_BYTES):
            yield piece
    finally:
        file.close()


async def _close_all(flow: Generator[Any, Any, Any], opened: dict[Stream, _OpenStream]) -> None:
    flow.close()
    for stream in opened.values():
        await stream.close()
