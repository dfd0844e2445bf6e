"""How much a caller may still ask: token buckets in Redis, shared by all processes, spent from a handful.

A process takes tokens by the handful, so that most requests ask nobody. While Redis is away each process
keeps buckets of its own, as large.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
import structlog

from heimdall_core.settings import RateLimitSettings, RedisSettings

_HANDFULS: Final = 100
"""A handful is so small a part of the quota: what idle processes hold is little."""
_AWAY_SECONDS: Final = 5.0
"""So long a Redis that did not answer is not asked again."""
_PATIENCE_SECONDS: Final = 0.1
_MAX_CALLERS: Final = 10_000
_TAKE: Final = """
local quota, window, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or quota
tokens = math.min(quota, tokens + math.max(0, now - (tonumber(bucket[2]) or now)) * quota / window)
local taken = math.min(wanted, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - taken), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(window * 1000))
return {taken, math.floor(tokens - taken)}
"""
_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a caller may still do."""

    granted: bool
    remaining: int
    """Requests that are left, as far as this process knows."""
    reset_seconds: int
    """Until the whole quota is there again."""
    retry_seconds: int = 1
    """Until the next request has a chance."""


class Buckets(Protocol):
    """Where tokens come from."""

    async def take(self, name: str, wanted: int) -> tuple[int, int]:
        """How many of the wanted tokens there were, and how many are left in the bucket."""
        ...

    async def close(self) -> None:
        """Ends what this event loop holds open."""
        ...


class LocalBuckets:
    """Buckets of this process alone."""

    def __init__(self, quota: int, window_seconds: float) -> None:
        self._quota, self._rate = quota, quota / window_seconds
        self._buckets: dict[str, tuple[float, float]] = {}

    async def take(self, name: str, wanted: int) -> tuple[int, int]:
        """As ``Buckets`` says; nothing is waited for."""
        now = time.monotonic()
        tokens, at = self._buckets.get(name, (float(self._quota), now))
        tokens = min(self._quota, tokens + (now - at) * self._rate)
        taken = min(wanted, int(tokens))
        if len(self._buckets) >= _MAX_CALLERS:
            self._buckets.clear()
        self._buckets[name] = (tokens - taken, now)
        return taken, int(tokens - taken)

    async def close(self) -> None:
        """Nothing is open."""


class RedisBuckets:
    """Buckets that every process shares; where Redis does not answer, those of this process."""

    def __init__(self, settings: RedisSettings, quota: int, window_seconds: float) -> None:
        self._url, self._prefix = settings.url.get_secret_value(), f"{settings.key_prefix}rate:"
        self._quota, self._window = quota, window_seconds
        self._instead = LocalBuckets(quota, window_seconds)
        self._away_until = 0.0
        # A connection belongs to the event loop that opened it.
        self._scripts: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    async def close(self) -> None:
        """Closes the connections of this event loop."""
        script = self._scripts.pop(asyncio.get_running_loop(), None)
        if script is not None:
            await script.registered_client.aclose()

    async def take(self, name: str, wanted: int) -> tuple[int, int]:
        """As ``Buckets`` says."""
        if time.monotonic() >= self._away_until:
            try:
                arguments = [self._quota, self._window, wanted]
                taken, left = await self._script()(keys=[self._prefix + name], args=arguments)
            except (redis.RedisError, OSError, TimeoutError) as error:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                _log.warning("rate_limit_without_redis", reason=str(error))
            else:
                return int(taken), int(left)
        return await self._instead.take(name, wanted)

    def _script(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._scripts:
            client = redis.asyncio.Redis.from_url(
                self._url,
                socket_connect_timeout=_PATIENCE_SECONDS,
                socket_timeout=_PATIENCE_SECONDS,
                max_connections=4,
            )
            self._scripts[loop] = client.register_script(_TAKE)
        return self._scripts[loop]


@dataclass(slots=True)
class _Hand:
    """Tokens that this process took and has not spent."""

    tokens: int = 0
    left: int = 0
    taken_at: float = 0.0
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimiter:
    """Lets each caller do so much in a window, and tells how much that is."""

    def __init__(self, settings: RateLimitSettings, buckets: Buckets) -> None:
        self._quota, self._window = settings.requests, settings.window_seconds
        self._buckets = buckets
        self._handful = max(1, self._quota // _HANDFULS)
        self._hands: dict[str, _Hand] = {}

    @property
    def policy(self) -> str:
        """``RateLimit-Policy``: the quota and its window in seconds."""
        return f'"default";q={self._quota};w={round(self._window)}'

    async def spend(self, name: str) -> Allowance:
        """Takes one token of the caller."""
        hand = self._hand(name)
        if hand.tokens < 1 or time.monotonic() - hand.taken_at > self._window:
            async with hand.taking:
                # Another request of the caller may have refilled it meanwhile.
                if hand.tokens < 1 or time.monotonic() - hand.taken_at > self._window:
                    hand.tokens, hand.left = await self._buckets.take(name, self._handful)
                    hand.taken_at = time.monotonic()
        granted = hand.tokens >= 1
        hand.tokens -= granted
        return self._allowance(hand, granted=granted)

    def give_back(self, name: str) -> None:
        """The request cost nothing after all."""
        self._hand(name).tokens += 1

    async def close(self) -> None:
        """Ends what this event loop holds open."""
        await self._buckets.close()

    def _hand(self, name: str) -> _Hand:
        if len(self._hands) >= _MAX_CALLERS:
            self._hands.clear()
        return self._hands.setdefault(name, _Hand())

    def _allowance(self, hand: _Hand, *, granted: bool) -> Allowance:
        remaining = hand.tokens + hand.left
        per_second = self._quota / self._window
        return Allowance(
            granted=granted,
            remaining=remaining,
            reset_seconds=max(1, round((self._quota - remaining) / per_second)),
            retry_seconds=max(1, round(1 / per_second)),
        )
