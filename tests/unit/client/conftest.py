"""One service, asked by the blocking and by the asynchronous client: what holds of one holds of both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from operator import attrgetter
from typing import Any

import httpx
import pytest

from heimdall_client import AsyncHeimdallClient, HeimdallClient, RetryPolicy

Service = Callable[[httpx.Request], httpx.Response]
URL = "http://service.test"


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; what is an error is raised where it stands."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Script:
    """Answers one after another, the last for ever; an error instead of an answer is raised."""

    def __init__(self, *answers: httpx.Response | Exception | Service) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)


class Surface:
    """One of the two clients; time passes only while it sleeps."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self.now = 0.0
        self.slept: list[float] = []

    def ask(
        self,
        service: Service,
        name: str,
        *args: Any,
        take: int | None = None,
        retry: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The result of a call such as ``jobs.get``; of an iteration a list of all items, or ``take``."""
        options = {
            "retry": retry or RetryPolicy(jitter=lambda: 0.0),
            "transport": httpx.MockTransport(service),
        }
        if self.is_async:
            return asyncio.run(self._ask_async(options, name, args, kwargs, take))
        with HeimdallClient(URL, "hmd_key", **options) as client:
            client._shell._sleep, client._shell._clock = self._sleep, lambda: self.now
            found = attrgetter(name)(client)(*args, **kwargs)
            if not isinstance(found, Iterator):
                return found
            return list(found) if take is None else [next(found) for _ in range(take)]

    async def _ask_async(self, options: Any, name: str, args: Any, kwargs: Any, take: int | None) -> Any:
        async with AsyncHeimdallClient(URL, "hmd_key", **options) as client:
            client._shell._sleep, client._shell._clock = self._sleep_async, lambda: self.now
            found = attrgetter(name)(client)(*args, **kwargs)
            if inspect.isawaitable(found):
                return await found
            items = []
            async for item in found:
                items.append(item)
                if len(items) == take:
                    break
            await found.aclose()
            return items

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def _sleep_async(self, seconds: float) -> None:
        self._sleep(seconds)


@pytest.fixture(params=["blocking", "async"])
def surface(request: pytest.FixtureRequest) -> Surface:
    return Surface(is_async=request.param == "async")


@pytest.fixture(scope="session")
def script() -> type[Script]:
    return Script


@pytest.fixture(scope="session")
def pieces() -> type[Pieces]:
    return Pieces


@pytest.fixture(scope="session")
def make_job() -> Callable[..., dict[str, Any]]:
    """A job document as a service of the smallest kind would send it."""

    def make(status: str = "running", **members: Any) -> dict[str, Any]:
        ended = status in {"succeeded", "failed", "cancelled"}
        return {"id": "job_1", "kind": "train", "status": status, "is_terminal": ended, **members}

    return make


@pytest.fixture(scope="session")
def problem() -> Callable[..., httpx.Response]:
    """A refusal as the service words it."""

    def make(status: int, code: str, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
        body = {"title": code.replace("_", " "), "status": status, "code": code, "detail": "no", **members}
        return httpx.Response(status, headers=headers, json=body)

    return make
