"""Hints go out when Redis takes them and never hold anybody up when it does not."""

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
import redis

from heimdall_core.jobs.hints import JOBS_QUEUE, SPECTROGRAM_TASK, HintPublisher
from heimdall_core.settings import RedisSettings, Settings


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_hint_becomes_one_message(settings: Settings) -> None:
    client = redis.Redis.from_url(settings.redis.url.get_secret_value())
    queue = f"{settings.redis.key_prefix}{JOBS_QUEUE}"
    client.delete(queue)
    publisher = HintPublisher(settings.redis)
    publisher.start()
    publisher.hint()
    assert wait_until(lambda: client.llen(queue) == 1)
    publisher.close()
    client.delete(queue)
    client.close()


@pytest.mark.parametrize("away", ["refused", "silent"])
def test_a_redis_that_is_away_holds_nobody_up(away: str, black_hole: str) -> None:
    url = "redis://127.0.0.1:9/0" if away == "refused" else black_hole
    publisher = HintPublisher(RedisSettings(url=url))
    publisher.start()
    started = time.monotonic()
    for _ in range(1000):
        publisher.hint()
    assert time.monotonic() - started < 1.0, "a thousand hints cost the caller nothing to speak of"
    publisher.close()


def test_a_wish_for_a_spectrogram_goes_to_the_workers_and_expires(settings: Settings) -> None:
    client = redis.Redis.from_url(settings.redis.url.get_secret_value())
    queue = f"{settings.redis.key_prefix}{JOBS_QUEUE}"
    client.delete(queue)
    publisher = HintPublisher(settings.redis)
    publisher.start()
    publisher.ask_spectrogram(UUID(int=7), 2)
    assert wait_until(lambda: client.llen(queue) == 1)
    publisher.close()
    message = json.loads(client.lindex(queue, 0) or b"")
    assert (message["headers"]["task"], message["headers"]["expires"] is None) == (SPECTROGRAM_TASK, False)
    _, arguments, _ = json.loads(base64.b64decode(message["body"]))
    assert arguments == {"session_id": str(UUID(int=7)), "segment": 2}
    client.delete(queue)
    client.close()
