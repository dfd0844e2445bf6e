"""Waiting for the database to say that something was committed."""

import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from heimdall_core.database.engine import Database
from heimdall_core.database.notification_tables import CHANNEL

if TYPE_CHECKING:
    import psycopg


APPLICATION_NAME = "heimdall-listener"
"""By which ``pg_stat_activity`` tells these connections from others."""


class Waker:
    """Wakes a thread that waits in ``Listener.wait``."""

    def __init__(self) -> None:
        self._receiving, self._sending = socket.socketpair()
        self._receiving.setblocking(False)
        self._sending.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._receiving.fileno()

    def wake(self) -> None:
        """Ends a wait that goes on, or the next one."""
        try:
            self._sending.send(b"!")
        except (BlockingIOError, OSError):
            return  # it is awake already, or closed

    def clear(self) -> None:
        """Forgets former calls."""
        try:
            while self._receiving.recv(1024):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Gives the descriptors back."""
        self._receiving.close()
        self._sending.close()


class Listener:
    """A connection of its own, out of the pool, that hears of commits and reads what was committed."""

    def __init__(self, connection: Connection, driver: "psycopg.Connection", waker: Waker) -> None:
        self.connection = connection
        self._driver, self._waker = driver, waker

    def wait(self, seconds: float) -> None:
        """Returns after a commit since the last call, a wake-up, or so long.

        Raises:
            psycopg.OperationalError: the connection broke.
        """
        if self._heard() or seconds <= 0:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._driver.fileno(), selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            selector.select(seconds)
        self._waker.clear()
        self._heard()

    def _heard(self) -> bool:
        """Takes in what has been notified, also what came while something was being read."""
        return sum(1 for _ in self._driver.notifies(timeout=0)) > 0


@contextmanager
def listening(database: Database, waker: Waker) -> Iterator[Listener]:
    """A listener that has begun to listen; what is read from now on misses no later notification.

    Raises:
        OperationalError: the database does not answer.
    """
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        connection.detach()
        connection.execute(text(f"set application_name to '{APPLICATION_NAME}'"))
        connection.execute(text(f"listen {CHANNEL}"))
        yield Listener(connection, driver, waker)
