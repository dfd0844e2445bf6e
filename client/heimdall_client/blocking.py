"""The blocking shell: performs the steps of flows with ``httpx.Client``."""

import time
from collections.abc import Callable, Generator, Iterator
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


class BlockingShell:
    """Performs steps one after another; a thread may share it with others."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.configuration = configuration
        self._sleep, self._clock = sleep, clock
        self._http = httpx.Client(
            timeout=timeout_of(configuration),
            trust_env=not configuration.is_local,
            transport=transport,
            limits=LIMITS,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """The result of a flow."""
        opened: dict[Stream, _OpenStream] = {}
        try:
            reply: Any = None
            error: BaseException | None = None
            while True:
                step = flow.send(reply) if error is None else flow.throw(error)
                reply, error = self._attempt(step, opened)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            _close_all(flow, opened)

    def iterate(self, feed: Feed[T]) -> Iterator[T]:
        """The items of a feed; leaving the iteration ends the feed."""
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
                    reply, error = self._attempt(step, opened)
        except StopIteration:
            return
        finally:
            _close_all(feed, opened)

    def _attempt(self, step: Step, opened: "dict[Stream, _OpenStream]") -> tuple[Any, BaseException | None]:
        try:
            return self._perform(step, opened), None
        except Exception as error:  # noqa: BLE001 - the flow decides what becomes of it
            return None, error

    def _perform(self, step: Step, opened: "dict[Stream, _OpenStream]") -> Any:  # noqa: PLR0911 - one for each kind
        match step:
            case Send(request):
                return self.run(send_repeatedly(request, self.configuration.retry))
            case Exchange(request):
                return self._exchange(request)
            case Sleep(seconds):
                return self._sleep(seconds)
            case BackOff(num_failures):
                return self._sleep(self.configuration.retry.backoff(num_failures))
            case Clock():
                return self._clock()
            case Run(work):
                return work()
            case Open(stream):
                opened[stream] = _OpenStream(self.configuration.url_of(stream.request))
                return opened[stream].open(self._http, self.configuration, stream)
            case Read(stream):
                return opened[stream].read()
            case Close(stream):
                return opened.pop(stream).close() if stream in opened else None

    def _exchange(self, request: Request) -> Answer:
        with translated(self.configuration.url_of(request)):
            pieces = None if request.file is None else _pieces_of(request.file)
            response = self._http.send(prepare(self._http, self.configuration, request, pieces=pieces))
        return answer_of(response, response.content)


class _OpenStream:
    """An answer whose body is read piece by piece; that of a refusal is read at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def open(self, http: httpx.Client, configuration: Configuration, stream: Stream) -> Answer:
        prepared = prepare(http, configuration, stream.request, silence_seconds=stream.silence_seconds)
        with translated(self._url):
            self._response = http.send(prepared, stream=True)
            content = self._response.read() if is_refused(self._response) else b""
        self._pieces = self._response.iter_bytes()
        return answer_of(self._response, content)

    def read(self) -> bytes | None:
        with translated(self._url):
            return next(self._pieces, None)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


def _pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(FILE_PIECE_BYTES):
            yield piece


def _close_all(flow: Generator[Any, Any, Any], opened: dict[Stream, _OpenStream]) -> None:
    flow.close()
    for stream in opened.values():
        stream.close()
