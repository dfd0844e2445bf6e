"""The engine and its sessions."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from sqlalchemy import Engine, PoolProxiedConnection, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from heimdall_core.settings import DatabaseSettings

_KEEPALIVE_SECONDS: Final = 5
_FRESH_SECONDS: Final = 0.1
_USED_AT: Final = "used_at"


class Database:
    """One pool of connections; each session is one transaction.

    All times in the database are ``timestamptz`` and all leases compare with the database's clock.
    """

    def __init__(self, settings: DatabaseSettings, *, application_name: str = "heimdall") -> None:
        timeout_ms = settings.statement_timeout_seconds * 1000
        self.engine = create_engine(
            settings.url.get_secret_value(),
            # None beyond the pool: such a connection is made, signed in and closed again for one transaction.
            pool_size=2 * settings.pool_size,
            max_overflow=0,
            pool_use_lifo=True,
            pool_timeout=settings.connect_timeout_seconds,
            connect_args={
                "application_name": application_name,
                "connect_timeout": settings.connect_timeout_seconds,
                "tcp_user_timeout": timeout_ms,
                # A reply that never comes is noticed by these, not by the server's own timeouts.
                "keepalives_idle": _KEEPALIVE_SECONDS,
                "keepalives_interval": _KEEPALIVE_SECONDS,
                "keepalives_count": 3,
                # A process that is frozen within a transaction must not hold its locks for ever.
                "options": f"-c statement_timeout={timeout_ms} -c timezone=UTC "
                f"-c idle_in_transaction_session_timeout={timeout_ms}",
            },
        )
        _check_connections(self.engine)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on any exception."""
        with self._sessions.begin() as session:
            yield session

    def ping(self) -> None:
        """Raises unless the database answers."""
        with self.engine.connect() as connection:
            connection.execute(text("select 1"))

    def dispose(self) -> None:
        """Closes every pooled connection."""
        self.engine.dispose()


def _check_connections(engine: Engine) -> None:
    """Asks a connection whether it still lives before it is lent, unless it was used a moment ago.

    As ``pool_pre_ping`` does each time: of a busy process that is a round trip more for every transaction.
    """

    @event.listens_for(engine, "checkout")
    def check(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        used_at = entry.info.get(_USED_AT)
        if used_at is None or monotonic() - used_at < _FRESH_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    @event.listens_for(engine, "checkin")
    def note(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[_USED_AT] = monotonic()
