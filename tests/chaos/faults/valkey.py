"""Family 2: the broker goes away, or forgets."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.chaos.faults.api import submit_by_http
from tests.chaos.faults.chaos import Chaos, Found
from tests.chaos.faults.network import disturbed, proxies_of
from tests.chaos.proxy import Mode


def valkey_away(chaos: Chaos, random_: random.Random) -> Found:
    """Refused, black-holed or slow for everybody; a submission must not feel it."""
    mode: Mode = random_.choice(("closed", "silent", "slow"))
    seconds = random_.uniform(2, 12)
    with disturbed(proxies_of(chaos, "valkey"), mode, delay_seconds=0.5, resets=random_.random() < 0.5):
        began = time.monotonic()
        found = submit_by_http(chaos, random_, lambda: None)
        answered = time.monotonic() - began
        if found["requests"] == 1 and answered > 3:
            chaos.violation("a submission waits for no broker", seconds=answered)
        time.sleep(max(0.0, seconds - answered))
    return {"mode": mode, "seconds": seconds, "answered_seconds": round(answered, 3)}


def valkey_flushed(chaos: Chaos, _random: random.Random) -> Found:
    """FLUSHALL."""
    with redis_client(chaos) as client:
        client.flushall()
    return {}


def valkey_restarted_empty(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9, and all its data gone."""
    with redis_client(chaos) as client:
        client.flushall()
    down = random_.uniform(0.2, 4)
    chaos.world.restart_engine("valkey", down_seconds=down)
    return {"seconds": down}


@contextmanager
def redis_client(chaos: Chaos) -> Iterator[Any]:
    """The harness's own way to Valkey."""
    url = chaos.world.core_settings().redis.url.get_secret_value()
    with redis.Redis.from_url(url) as client:
        yield client
