"""Who stops waiting is let go at once, and leaves no connection open."""

import asyncio

import httpx
import pytest

from heimdall_client import AsyncHeimdallClient, HeimdallClient


class Endless(httpx.AsyncByteStream):
    """A stream that says nothing; it knows whether it was closed."""

    def __init__(self):
        self.is_closed = False
        self.is_read = asyncio.Event()

    async def __aiter__(self):
        yield b": keep-alive\n\n"
        self.is_read.set()
        await asyncio.Event().wait()

    async def aclose(self):
        self.is_closed = True


def test_a_cancelled_watch_closes_its_stream():
    async def watch():
        stream = Endless()
        answer = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=stream)
        transport = httpx.MockTransport(lambda _: answer)
        async with AsyncHeimdallClient("http://service.test", "hmd_k", transport=transport) as client:

            async def follow():
                async for _ in client.jobs.watch("job_1"):
                    pass

            task = asyncio.create_task(follow())
            await stream.is_read.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return stream.is_closed

    assert asyncio.run(watch())


def test_a_cancelled_retry_sends_nothing_more():
    async def ask():
        num_requests = 0

        def refuse(_):
            nonlocal num_requests
            num_requests += 1
            return httpx.Response(503, headers={"Retry-After": "60"})

        transport = httpx.MockTransport(refuse)
        async with AsyncHeimdallClient("http://service.test", "hmd_k", transport=transport) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.queue(), timeout=0.05)
        return num_requests

    assert asyncio.run(ask()) == 1


def test_an_interrupt_from_the_keyboard_ends_a_wait():
    def interrupt(_):
        raise KeyboardInterrupt

    transport = httpx.MockTransport(interrupt)
    client = HeimdallClient("http://service.test", "hmd_k", transport=transport)
    with client, pytest.raises(KeyboardInterrupt):
        client.jobs.wait("job_1")
