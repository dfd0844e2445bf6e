"""When a message that was not taken is sent again: ten times within three days (Standard Webhooks 1.0)."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MINUTE, _HOUR = 60.0, 3600.0
#: Before each attempt, since the end of the one before it.
WAITS_SECONDS: Final = (
    0.0,
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
#: Of a wait, at random, on top: what failed together does not come back together.
JITTER: Final = 0.1
#: A receiver cannot ask for a longer wait than this.
_LONGEST_WAIT_SECONDS: Final = 24 * _HOUR


def wait_seconds(num_attempts: int, *, retry_after_seconds: float | None = None) -> float | None:
    """How long to wait after so many attempts; None: there is no other."""
    if num_attempts >= len(WAITS_SECONDS):
        return None
    wait = WAITS_SECONDS[num_attempts] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 - no secret
    return max(wait, min(retry_after_seconds or 0.0, _LONGEST_WAIT_SECONDS))


def retry_after(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` asks for, be it a number or a date; None: it is neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
