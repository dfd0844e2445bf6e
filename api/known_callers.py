"""Who was let in a moment ago: the key of a poll of an unchanged job is not looked up each time.

What the key may do is judged each time. A key that is revoked learns for ``TRUST_SECONDS`` more at most that
a job it could read is unchanged; everything else looks it up.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Final

from heimdall_core.accounts.principal import Principal

TRUST_SECONDS: Final = 5.0
_MAX_CALLERS: Final = 10_000


@dataclass(slots=True)
class _Known:
    caller: Principal
    renew_at: float
    until: float

    def is_due(self, now: float) -> bool:
        """Whether this request shall go the ordinary way: half-way one does, and the others need not wait."""
        if now < self.renew_at:
            return False
        self.renew_at = self.until
        return True


class KnownCallers:
    """Who sent which ``Authorization`` a moment ago; of the header only a digest is kept."""

    def __init__(self, *, trust_seconds: float = TRUST_SECONDS) -> None:
        self._trust_seconds = trust_seconds
        self._known: dict[bytes, _Known] = {}

    def remember(self, authorization: str | None, caller: Principal) -> None:
        """The caller was let in, and is known for a few seconds."""
        if authorization is None:
            return
        now = time.time()
        until = now + self._trust_seconds
        if caller.expires_at is not None:
            until = min(until, caller.expires_at.timestamp())
        if len(self._known) >= _MAX_CALLERS:
            self._known.clear()
        key = _digest(authorization.encode("latin-1"))
        self._known[key] = _Known(caller=caller, renew_at=now + self._trust_seconds / 2, until=until)

    def find(self, authorization: bytes, scope: str) -> Principal | None:
        """The caller, if it was let in a moment ago and has the scope."""
        known, now = self._known.get(_digest(authorization)), time.time()
        if known is None or now >= known.until or known.is_due(now) or not known.caller.may(scope):
            return None
        return known.caller


def _digest(authorization: bytes) -> bytes:
    return hashlib.sha256(authorization).digest()
