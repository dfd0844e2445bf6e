"""One reader of events for a whole process, and everybody who follows them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.schemas.events import event_frame
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.engine import Database
from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.notifications.audience import live_keys, live_sessions
from heimdall_core.notifications.feed import EventFeed
from heimdall_core.notifications.stream import EventFilter, StreamEvent
from heimdall_core.settings import EventSettings

_log = structlog.get_logger("api")
#: Of the newest events, kept for those who come back after a moment.
_NUM_RECENT: Final = 1000
_READY_SECONDS: Final = 5.0


class StreamEnd(StrEnum):
    """Why the service ended a stream."""

    SHUTDOWN = "shutdown"
    #: Its key was revoked, key or token expired, or the browser was signed out.
    KEY_ENDED = "key_ended"
    #: It did not take its events as fast as they came.
    TOO_SLOW = "too_slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An event and its bytes in a stream, made once for everybody."""

    event: StreamEvent
    encoded: bytes


class Follower:
    """One open stream: what waits to be sent on it."""

    def __init__(
        self, wanted: EventFilter, caller: Principal, *, limit: int, wants_progress: bool = False
    ) -> None:
        self.wanted, self.caller, self.wants_progress = wanted, caller, wants_progress
        self.end: StreamEnd | None = None
        self._of_progress = replace(wanted, names=())
        self._progress: dict[str | None, Frame] = {}
        self._after = 0
        self._limit = limit
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()

    def begin_after(self, number: int) -> None:
        """From now on it is offered events; those up to this one it has."""
        self._after = number

    def offer(self, frame: Frame) -> None:
        """Gives it an event, if it wants it; one that has too many waiting is ended."""
        if self.end is not None or frame.event.id <= self._after or not self.wanted.matches(frame.event):
            return  # what came after a gap must never be sent: the client would go on from there
        if len(self._frames) >= self._limit:
            self.finish(StreamEnd.TOO_SLOW)
            return
        self._frames.append(frame)
        self._news.set()

    def offer_progress(self, frame: Frame) -> None:
        """Gives it how a job goes, in place of what of the same job still waits."""
        if self.end is None and self._of_progress.matches(frame.event):
            self._progress[frame.event.job_id] = frame
            self._news.set()

    def finish(self, end: StreamEnd) -> None:
        """Ends it; what waits is dropped, for the client asks for it again."""
        self.end = self.end or end
        self._frames.clear()
        self._progress.clear()
        self._news.set()

    async def take(self, *, within_seconds: float) -> list[Frame]:
        """What has come, events last; empty: nothing did in this time, or it was ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._news.wait()
        self._news.clear()
        frames = [*self._progress.values(), *self._frames]
        self._frames.clear()
        self._progress.clear()
        return frames


class EventHub:
    """Hands each committed event to all who follow it.

    It connects to the database when the first follower comes. But for ``running`` and ``end_all_soon``
    everything happens in the loop of the application.
    """

    def __init__(self, database: Database, settings: EventSettings) -> None:
        self.settings = settings
        self._database = database
        self._followers: dict[str | None, set[Follower]] = {}
        self._admitted: set[Follower] = set()
        self._recent: deque[Frame] = deque(maxlen=_NUM_RECENT)
        self._floor = 0
        self.position = 0
        self._ready = asyncio.Event()
        self._feed: EventFeed | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: StreamEnd | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the application runs."""
        self._loop = asyncio.get_running_loop()
        checks = asyncio.create_task(self._check_keys())
        try:
            yield
        finally:
            self._end_all()
            checks.cancel()
            if self._feed is not None:
                await asyncio.to_thread(self._feed.close)

    @property
    def num_followers(self) -> int:
        """Streams that have caught up."""
        return sum(map(len, self._followers.values()))

    @property
    def num_streams(self) -> int:
        """Open streams, as ``max_streams`` limits them; from any thread."""
        return len(self._admitted)

    def admit(self, follower: Follower) -> None:
        """Counts the follower until it leaves, also while it still catches up.

        Raises:
            InfrastructureError: as many as may do follow already.
        """
        if len(self._admitted) >= self.settings.max_streams:
            raise InfrastructureError(
                "this process has as many open streams as it may have",
                code="too_many_streams",
                hint="Come back in a moment, or ask for pages of events instead.",
            )
        self._admitted.add(follower)

    async def ready(self) -> None:
        """Returns once events are being read.

        Raises:
            InfrastructureError: the database did not answer.
        """
        self._start()
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            raise InfrastructureError(
                "the database of events does not answer",
                code="events_unavailable",
                hint="Come back in a moment.",
            ) from None

    def join(self, follower: Follower, after: int) -> bool:
        """Gives the follower all events from then on; False: it must first read up to a later one."""
        if after < self._floor:
            return False
        follower.begin_after(after)
        self._followers.setdefault(follower.wanted.job_id, set()).add(follower)
        for frame in self._recent:
            follower.offer(frame)
        if self._end is not None:
            follower.finish(self._end)
        return True

    def leave(self, follower: Follower) -> None:
        """Forgets the follower."""
        self._admitted.discard(follower)
        group = self._followers.get(follower.wanted.job_id, set())
        group.discard(follower)
        if not group:
            self._followers.pop(follower.wanted.job_id, None)

    def end_all_soon(self) -> None:
        """Ends every stream, and those that still come; from any thread or signal handler."""
        self._in_loop(self._end_all)

    def _end_all(self) -> None:
        self._end = StreamEnd.SHUTDOWN
        for follower in self.everybody():
            follower.finish(StreamEnd.SHUTDOWN)

    def everybody(self) -> list[Follower]:
        """Whoever follows."""
        return [follower for group in self._followers.values() for follower in group]

    def _start(self) -> None:
        if self._feed is None:
            self._feed = EventFeed(self._database, begin=self._begin_soon, deliver=self._deliver)
            self._feed.start()

    def _begin_soon(self, number: int) -> None:
        self._in_loop(self._begin, number)

    def _begin(self, number: int) -> None:
        self._floor = self.position = number
        self._ready.set()

    def _deliver(self, events: Sequence[StreamEvent]) -> None:
        self._in_loop(self._publish, [Frame(event=e, encoded=event_frame(e)) for e in events])

    def _publish(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if len(self._recent) == _NUM_RECENT:
                self._floor = self._recent[0].event.id
            self._recent.append(frame)
            self.position = frame.event.id
            for job_id in {None, frame.event.job_id}:
                for follower in self._followers.get(job_id, ()):
                    follower.offer(frame)

    def _in_loop(self, do: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everybody who followed
            self._loop.call_soon_threadsafe(do, *arguments)

    async def _check_keys(self) -> None:
        """Ends streams whose keys are no longer good."""
        while True:
            await asyncio.sleep(self.settings.key_check_seconds)
            followers = self.everybody()
            keys = {f.caller.key_id for f in followers if f.caller.key_id is not None}
            sessions = {f.caller.session_id for f in followers if f.caller.session_id is not None}
            try:
                live = await asyncio.to_thread(self._live, keys, sessions) if keys else set()
            except SQLAlchemyError as error:
                _log.warning("keys_not_checked", reason=str(error))
                continue
            for follower in followers:
                if not _is_live(follower.caller, live):
                    follower.finish(StreamEnd.KEY_ENDED)

    def _live(self, keys: set[str], sessions: set[str]) -> set[str]:
        with self._database.transaction() as session:
            return live_keys(session, keys) | (live_sessions(session, sessions) if sessions else set())


def _is_live(caller: Principal, live: set[str]) -> bool:
    if caller.expires_at is not None and caller.expires_at <= datetime.now(UTC):
        return False
    return {caller.key_id, caller.session_id} - {None} <= live
