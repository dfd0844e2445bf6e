"""When a request is sent again, and after which pause."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from heimdall_client.errors import Conflict, HeimdallError, RateLimited, Unavailable, Unreachable
from heimdall_client.exchanges import Answer, Request, require_success
from heimdall_client.steps import Flow, Sleep, exchange

IN_FLIGHT: Final = "idempotency_key_in_use"
"""The first of two sendings is still being answered; the second gets the same answer in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential back-off with jitter; what the service asks for in ``Retry-After`` wins.

    Repeated are connections that failed, 429, 502, 503, 504, and 409 while the same ``Idempotency-Key`` is
    being answered. What may have reached the service is repeated only if that does no harm.
    """

    max_tries: int = 5
    """In all; 1: never again."""
    max_connects: int | None = None
    """Tries while nobody listens at the address; None: ``max_tries``."""
    first_pause_seconds: float = 0.5
    max_pause_seconds: float = 20.0
    max_retry_after_seconds: float = 120.0
    """A longer ``Retry-After`` is left to the caller: the error carries it."""
    jitter: Callable[[], float] = random.random
    """A number in [0, 1)."""

    def pause_after(self, error: HeimdallError, *, num_tries: int, is_repeatable: bool) -> float | None:
        """Seconds until the next try, or None: there is none."""
        if num_tries >= self._most_tries(error) or not _may_repeat(error, is_repeatable=is_repeatable):
            return None
        if error.retry_after:
            wanted = error.retry_after + self.jitter() * min(1.0, error.retry_after)
            return wanted if error.retry_after <= self.max_retry_after_seconds else None
        return self.backoff(num_tries)

    def backoff(self, num_tries: int) -> float:
        """Twice as long after each try, up to the maximum, and half of it by chance."""
        longest = min(self.max_pause_seconds, self.first_pause_seconds * 2.0 ** min(num_tries - 1, 30))
        return longest * (0.5 + 0.5 * self.jitter())

    def _most_tries(self, error: HeimdallError) -> int:
        nobody_listens = isinstance(error, Unreachable) and not error.was_sent
        return self.max_connects if nobody_listens and self.max_connects is not None else self.max_tries


def _may_repeat(error: HeimdallError, *, is_repeatable: bool) -> bool:
    if isinstance(error, RateLimited) or (isinstance(error, Conflict) and error.code == IN_FLIGHT):
        return True
    if isinstance(error, Unreachable) and not error.was_sent:
        return True
    return isinstance(error, Unavailable) and is_repeatable


def send_repeatedly(request: Request, policy: RetryPolicy) -> Flow[Answer]:
    """A successful answer.

    Raises:
        HeimdallError: the last try's.
    """
    num_tries = 0
    while True:
        num_tries += 1
        try:
            return require_success((yield from exchange(request)))
        except HeimdallError as error:
            pause = policy.pause_after(error, num_tries=num_tries, is_repeatable=request.is_repeatable)
            if pause is None:
                raise
        yield Sleep(pause)
