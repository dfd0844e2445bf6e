"""The events as they are committed, read once for everybody in this process."""

import threading
from collections.abc import Callable, Sequence

import psycopg
import structlog
from sqlalchemy.exc import DBAPIError

from heimdall_core.database.engine import Database
from heimdall_core.notifications.listening import Listener, Waker, listening
from heimdall_core.notifications.stream import EventFilter, StreamEvent, last_event_number, read_events

_log = structlog.get_logger(__name__)
_BATCH = 500
#: Without a notification it reads so often all the same: that is how it learns that its connection is dead.
IDLE_SECONDS = 15.0
_RETRY_SECONDS = 0.1
_RETRY_CEILING_SECONDS = 5.0
_EVERYTHING = EventFilter()


class EventFeed:
    """Hands on every event that is committed after its start, in order and once, from a thread of its own.

    A database that goes away is waited for; then it goes on where it was. ``begin`` is told, once, the number
    after which events are delivered, and ``deliver`` each batch.
    """

    def __init__(
        self,
        database: Database,
        *,
        begin: Callable[[int], None],
        deliver: Callable[[Sequence[StreamEvent]], None],
    ) -> None:
        self._database, self._begin, self._deliver = database, begin, deliver
        self._position: int | None = None
        self._waker = Waker()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-feed", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and its connection."""
        self._closing.set()
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._waker.close()

    def _run(self) -> None:
        retry_seconds = _RETRY_SECONDS
        while not self._closing.is_set():
            try:
                with listening(self._database, self._waker) as listener:
                    self._drain(listener)
                    retry_seconds = _RETRY_SECONDS
                    self._follow(listener)
            except (DBAPIError, psycopg.Error) as error:
                _log.warning("event_feed_broken", reason=str(getattr(error, "orig", None) or error))
            except Exception:  # noqa: BLE001 - whatever it is: without this thread every stream is silent
                _log.exception("event_feed_failed")
            else:
                return
            if not self._closing.wait(retry_seconds):
                retry_seconds = min(2 * retry_seconds, _RETRY_CEILING_SECONDS)

    def _follow(self, listener: Listener) -> None:
        while not self._closing.is_set():
            listener.wait(IDLE_SECONDS)
            self._drain(listener)

    def _drain(self, listener: Listener) -> None:
        """Delivers what is there."""
        if self._position is None:
            self._position = last_event_number(listener.connection)
            self._begin(self._position)
            return
        while True:
            events = read_events(listener.connection, _EVERYTHING, after=self._position, limit=_BATCH)
            if events:
                self._position = events[-1].id
                self._deliver(events)
            if len(events) < _BATCH or self._closing.is_set():
                return
