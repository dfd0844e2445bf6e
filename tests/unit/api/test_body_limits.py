"""Bodies at the edge: their size, their time, and how much of them is in memory."""

import asyncio

import pytest
from starlette.exceptions import HTTPException

from api import middleware
from api.middleware import BodyLimit


class Sink:
    """An application that reads a body and answers when it is let."""

    def __init__(self):
        self.let_go = asyncio.Event()

    async def __call__(self, _scope, receive, _send):
        while (await receive()).get("more_body"):
            pass
        await self.let_go.wait()


def request(path="/v1/jobs", *headers):
    return {"type": "http", "method": "POST", "path": path, "headers": list(headers)}


def body_of(*chunks, last=True):
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if last and messages:
        messages[-1]["more_body"] = False
    waiting = iter(messages)

    async def receive():
        if (message := next(waiting, None)) is None:
            await asyncio.Event().wait()
        return message

    return receive


async def refused(app, scope, receive):
    with pytest.raises(HTTPException) as caught:
        await app(scope, receive, None)
    return caught.value.status_code


def test_bodies_that_together_are_too_many_are_refused_until_others_are_gone(monkeypatch):
    monkeypatch.setattr(middleware, "BODIES_LIMIT", 1000)

    async def scenario():
        sink = Sink()
        app = BodyLimit(sink)
        first = asyncio.create_task(app(request(), body_of(b"x" * 600), None))
        await asyncio.sleep(0)
        assert await refused(app, request(), body_of(b"x" * 600)) == 503
        sink.let_go.set()
        await first
        await app(request(), body_of(b"x" * 600), None)
        assert app._num_bytes_held == 0

    asyncio.run(scenario())


def test_a_body_that_is_refused_or_broken_off_is_no_longer_counted():
    async def scenario():
        app = BodyLimit(Sink())
        assert await refused(app, request(), body_of(b"x" * (middleware.BODY_LIMIT + 1))) == 413
        broken = asyncio.create_task(app(request(), body_of(b"x" * 600, last=False), None))
        await asyncio.sleep(0)
        assert app._num_bytes_held == 600
        broken.cancel()
        await asyncio.gather(broken, return_exceptions=True)
        assert app._num_bytes_held == 0

    asyncio.run(scenario())


def test_a_body_that_dawdles_is_cut_off_and_one_that_has_come_may_take_its_time(monkeypatch):
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.02)
    monkeypatch.setattr(middleware, "BODY_BYTES_PER_SECOND", float("inf"))

    async def follower(_scope, receive, _send):
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.1)  # a disconnection that does not come

    async def scenario():
        assert await refused(BodyLimit(Sink()), request(), body_of(b"x", last=False)) == 408
        await BodyLimit(follower)(request(), body_of(b"x"), None)

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "status"), [("/v1/jobs", 413), ("/v1/uploads", None)])
def test_a_list_of_files_may_be_larger_than_other_bodies(path, status):
    async def scenario():
        sink = Sink()
        sink.let_go.set()
        body = body_of(b"x" * (middleware.BODY_LIMIT + 1))
        if status is None:
            await BodyLimit(sink)(request(path), body, None)
        else:
            assert await refused(BodyLimit(sink), request(path), body) == status

    asyncio.run(scenario())
