"""What was refused, for the audit log: of one caller an entry a minute at most, of all together sixty."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from heimdall_core.accounts import audit
from heimdall_core.accounts.audit import Circumstances
from heimdall_core.accounts.principal import Principal
from heimdall_core.database import Database
from heimdall_core.domain.errors import RequestError

PERIOD_SECONDS: Final = 60.0
MAX_ENTRIES: Final = 60
"""In a period, of all callers together."""
_MAX_SOURCES: Final = 10_000
_log = structlog.get_logger("api")


@dataclass(slots=True)
class _Source:
    noted_at: float
    num_left_out: int = 0


class Refusals:
    """Notes refused sign-ins and refused calls; what is left out is counted in the next entry."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._lock = Lock()
        self._sources: OrderedDict[tuple[str, str], _Source] = OrderedDict()
        self._period_began, self._num_entries = float("-inf"), 0

    def note(self, error: RequestError, caller: Principal | None, circumstances: Circumstances) -> None:
        """Adds an entry, in a transaction of its own, unless there were many; it never fails."""
        who = circumstances.client or "" if caller is None else caller.owner
        left_out = self._admit((who, error.stable_code))
        if left_out is None:
            return
        action = "refuse_sign_in" if caller is None else "refuse_call"
        _log.warning(action, code=error.stable_code, client=circumstances.client, left_out=left_out)
        try:
            with self._database.transaction() as session:
                audit.set_circumstances(session, circumstances)
                audit.record(
                    session,
                    caller,
                    action,
                    None,
                    code=error.stable_code,
                    reason=error.message,
                    left_out_before=left_out,
                )
        except SQLAlchemyError as problem:
            _log.warning("refusal_not_recorded", reason=str(getattr(problem, "orig", None) or problem))

    async def note_soon(
        self, error: RequestError, caller: Principal | None, circumstances: Circumstances
    ) -> None:
        """The same from an event loop, which must not wait for the database."""
        await asyncio.to_thread(self.note, error, caller, circumstances)

    def _admit(self, source: tuple[str, str]) -> int | None:
        """How many of the source were left out before this one; None: it is left out too."""
        now = self._clock()
        with self._lock:
            if now - self._period_began >= PERIOD_SECONDS:
                self._period_began, self._num_entries = now, 0
            known = self._sources.get(source)
            is_early = known is not None and now - known.noted_at < PERIOD_SECONDS
            if is_early or self._num_entries >= MAX_ENTRIES:
                self._leave_out(source, known, now)
                return None
            self._num_entries += 1
            self._sources.pop(source, None)
            self._remember(source, _Source(noted_at=now))
            return 0 if known is None else known.num_left_out

    def _leave_out(self, source: tuple[str, str], known: _Source | None, now: float) -> None:
        if known is None:
            known = _Source(noted_at=now - PERIOD_SECONDS)
            self._remember(source, known)
        known.num_left_out += 1

    def _remember(self, source: tuple[str, str], known: _Source) -> None:
        self._sources[source] = known
        while len(self._sources) > _MAX_SOURCES:
            self._sources.popitem(last=False)
