"""How fast one key may ask."""

import asyncio

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.token_buckets import LocalBuckets, RateLimiter, RedisBuckets
from heimdall_core.settings import RateLimitSettings, RedisSettings

HEADERS = {"Authorization": "Bearer hmd_" + "k" * 40}


def limiter(requests, window_seconds=60.0):
    settings = RateLimitSettings(requests=requests, window_seconds=window_seconds)
    return RateLimiter(settings, LocalBuckets(requests, window_seconds))


@pytest.fixture
def limited(services):
    """An application whose keys may ask twice a minute, and whose Redis is away."""
    settings = services.settings.model_copy(update={"rate_limit": RateLimitSettings(requests=2)})
    app = create_app(
        type(services)(**{**{f: getattr(services, f) for f in services.__slots__}, "settings": settings})
    )
    with TestClient(app, base_url="http://api.test") as client:
        yield client


def test_beyond_the_quota_a_key_is_told_when_to_come_back(limited):
    for _ in range(2):
        assert limited.get("/v1/nothing", headers=HEADERS).status_code == 404
    refused = limited.get("/v1/nothing", headers=HEADERS)
    problem = refused.json()
    assert refused.status_code == 429
    assert problem["code"] == "quota_exceeded"
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["default"]
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')


def test_another_key_has_a_quota_of_its_own_and_probes_have_none(limited):
    for _ in range(3):
        limited.get("/v1/nothing", headers=HEADERS)
    other = limited.get("/v1/nothing", headers={"Authorization": "Bearer hmd_" + "o" * 40})
    assert other.status_code == 404
    assert other.headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert other.headers["ratelimit"].startswith('"default";r=1;t=')
    assert "ratelimit" not in limited.get("/livez", headers=HEADERS).headers


def test_what_is_not_modified_costs_nothing():
    async def spend():
        limits = limiter(1)
        granted = []
        for _ in range(3):
            granted.append((await limits.spend("key")).granted)
            limits.give_back("key")
        return granted

    assert asyncio.run(spend()) == [True, True, True]


def test_tokens_come_back_with_time(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("api.token_buckets.time.monotonic", lambda: now)
    buckets = LocalBuckets(10, 10.0)
    assert asyncio.run(buckets.take("key", 50)) == (10, 0)
    assert asyncio.run(buckets.take("key", 1)) == (0, 0)
    now += 3.0
    assert asyncio.run(buckets.take("key", 50)) == (3, 0)
    now += 1000.0
    assert asyncio.run(buckets.take("key", 50)) == (10, 0)


def test_most_requests_ask_nobody():
    class Counted(LocalBuckets):
        asked = 0

        async def take(self, name, wanted):
            self.asked += 1
            return await super().take(name, wanted)

    async def spend():
        buckets = Counted(1000, 60.0)
        limits = RateLimiter(RateLimitSettings(requests=1000), buckets)
        granted = [(await limits.spend("key")).granted for _ in range(100)]
        return all(granted), buckets.asked

    assert asyncio.run(spend()) == (True, 10)


def test_without_redis_each_process_counts_for_itself():
    async def spend():
        buckets = RedisBuckets(RedisSettings(url="redis://127.0.0.1:1/0"), 5, 60.0)
        taken = [await buckets.take("key", 3) for _ in range(2)]
        await buckets.close()
        return taken

    assert asyncio.run(spend()) == [(3, 2), (2, 0)]
