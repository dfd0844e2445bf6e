"""Server-sent events: what is sent on a stream, and when it ends."""

import asyncio
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.event_hub import EventHub, Follower
from api.schemas.events import event_frame
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.engine import Database
from heimdall_core.notifications.stream import EventFilter, StreamEvent, read_events

_log = structlog.get_logger("api")
MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = b": keep-alive\n\n"
_PAGE: Final = 500
_RETRY_MS: Final = (1000, 3000)
"""Clients come back after a time in this range, so that not all come at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What a stream is to carry."""

    wanted: EventFilter
    caller: Principal
    after: int | None
    """Number of the last event that the client has; None: from now on."""
    with_progress: bool = False
    """Whether it also carries what running jobs report between their events."""
    until_job_ends: bool = False
    has_ended: bool = False
    """Whether its job had ended already: then the stream ends with what there is."""


class EventStream(Response):
    """A stream of events that ends with its job, its key, its client or its server."""

    media_type = MEDIA_TYPE

    def __init__(self, plan: StreamPlan, hub: EventHub, database: Database) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._plan, self._hub, self._database = plan, hub, database

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until the end.

        Raises:
            InfrastructureError: before anything is sent: no more streams are possible now.
        """
        follower = Follower(
            self._plan.wanted,
            self._plan.caller,
            limit=self._hub.settings.max_waiting,
            wants_progress=self._plan.with_progress,
        )
        self._hub.admit(follower)
        try:
            await self._hub.ready()
            await self._serve(follower, receive, send)
        finally:
            self._hub.leave(follower)

    async def _serve(self, follower: Follower, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send_all(follower, send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, follower: Follower, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for chunk in self._chunks(follower):
                async with asyncio.timeout(self._hub.settings.send_timeout_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            _log.warning("event_stream_given_up", owner=self._plan.caller.owner)
            return  # the server drops a connection whose answer is incomplete
        except SQLAlchemyError as error:
            _log.warning("event_stream_broken", reason=str(getattr(error, "orig", None) or error))
        if follower.end is not None:
            _log.info("event_stream_ended", reason=follower.end.value, owner=self._plan.caller.owner)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self, follower: Follower) -> AsyncIterator[bytes]:
        yield f"retry: {random.randint(*_RETRY_MS)}\n\n".encode()  # noqa: S311 - no secret
        after = self._hub.position if self._plan.after is None else self._plan.after
        while self._plan.has_ended or not self._hub.join(follower, after):
            before = self._hub.position
            events = await asyncio.to_thread(self._read, after)
            if events:
                yield b"".join(map(event_frame, events))
            is_last_page = len(events) < _PAGE
            if self._ends(events) or (self._plan.has_ended and is_last_page):
                return
            after = max(after, before if is_last_page else 0, *(event.id for event in events))
        async for chunk in self._live(follower):
            yield chunk

    async def _live(self, follower: Follower) -> AsyncIterator[bytes]:
        while follower.end is None:
            frames = await follower.take(within_seconds=self._hub.settings.keep_alive_seconds)
            if frames:
                yield b"".join(frame.encoded for frame in frames)
                if self._ends([frame.event for frame in frames]):
                    return
            elif follower.end is None:
                yield KEEP_ALIVE

    def _ends(self, events: Sequence[StreamEvent]) -> bool:
        return self._plan.until_job_ends and any(event.ends_job for event in events)

    def _read(self, after: int) -> list[StreamEvent]:
        with self._database.transaction() as session:
            return read_events(session, self._plan.wanted, after=after, limit=_PAGE)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@contextmanager
def ending_on_signals(end: Callable[[], None]) -> Iterator[None]:
    """Calls ``end`` when the process is asked to stop.

    The server waits for open answers before it tells the application that it stops: streams keep it waiting.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        end()
        handler = former[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    ours = [number for number, handler in former.items() if callable(handler)]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is handle:
                signal.signal(number, former[number])
