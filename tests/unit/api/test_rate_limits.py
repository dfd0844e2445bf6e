"""How fast one key may ask."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from api.app import create_app
from api.rate_limits import RateLimits
from api.token_buckets import LocalBuckets, RateLimiter, RedisBuckets
from heimdall_core.accounts.principal import Principal
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


@pytest.fixture
def known():
    """An application that knows two keys, each of which may ask twice a minute."""

    async def app(scope, receive, send):
        authorization = Request(scope).headers.get("authorization")
        if authorization in {"Bearer ann", "Bearer bob"}:
            caller = Principal(owner=authorization, key_id="key_1", scopes=frozenset())
            scope.setdefault("state", {})["caller"] = caller
        await Response(status_code=404)(scope, receive, send)

    client = TestClient(RateLimits(app, limiter=limiter(2)))
    return lambda key: client.get("/v1/nothing", headers={"Authorization": f"Bearer {key}"})


def test_another_key_has_a_quota_of_its_own_and_probes_have_none(known, limited):
    assert [known("ann").status_code for _ in range(4)] == [404, 404, 404, 429]
    other = [known("bob") for _ in range(2)]
    assert [answer.status_code for answer in other] == [404, 404]
    assert other[1].headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert other[1].headers["ratelimit"].startswith('"default";r=1;t=')
    assert "ratelimit" not in limited.get("/livez", headers=HEADERS).headers


def test_a_key_that_is_known_is_not_refused_for_what_strangers_of_its_address_ask(known):
    known("ann")
    assert [known(f"made up {number}").status_code for number in range(3)] == [404, 429, 429]
    assert known("ann").status_code == 404


def test_signing_in_too_often_is_told_on_a_page_whatever_else_is_sent(limited):
    for number in range(2):
        made_up = {"Authorization": f"Bearer {number}", "Cookie": f"heimdall_session={number}"}
        assert limited.post("/sign-in", data={"key": "x"}, headers=made_up).status_code == 401
    refused = limited.post("/sign-in", data={"key": "x"})
    assert refused.status_code == 429
    assert "Try again in a moment" in refused.text
    assert int(refused.headers["retry-after"]) >= 1


def test_made_up_keys_have_no_quota_of_their_own(limited):
    """Each would be looked up in the database, and have a bucket in Redis."""
    statuses = [
        limited.get("/v1/jobs", headers=made_up).status_code
        for number in range(3)
        for made_up in (
            {"Authorization": f"Bearer hmd_{number:040}"},
            {"Cookie": f"heimdall_session={number:043}"},
        )
    ]
    assert statuses[2:] == [429] * 4


def test_what_is_open_to_everybody_makes_no_key_good(limited):
    statuses = [
        limited.get(path, headers=headers, follow_redirects=False).status_code
        for headers in (HEADERS, {"Cookie": f"heimdall_session={'x' * 43}"})
        for path in ("/sign-in", "/v1/jobs")
    ]
    assert statuses[0] == 200
    assert statuses[2:] == [429] * 2


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
