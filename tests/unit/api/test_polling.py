"""Polls of unchanged jobs."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from api.known_callers import KnownCallers
from api.polling import Glimpse, JobGlances, UnchangedJobs
from heimdall_core.accounts.principal import Principal
from heimdall_core.jobs.queue_facts import DEFAULT_POLICY

JOB = "job_" + "a" * 24
READER = Principal(owner="ann", key_id="key_1", scopes=frozenset({"jobs:read"}))


class CountedGlances(JobGlances):
    """Sees one job of Ann's, and counts the statements."""

    def __init__(self, owner="ann"):
        super().__init__(None, DEFAULT_POLICY)
        self.asked, self.owner = [], owner

    def _read(self, job_ids):
        self.asked.append(job_ids)
        time.sleep(0.01)
        return {JOB: Glimpse(owner=self.owner, etag='"3"', is_terminal=False)}


async def poll(app, *, etag='"3"', key="Bearer k", path=f"/v1/jobs/{JOB}", method="GET"):
    """The status of the answer; 299 from the application itself."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"if-none-match", etag.encode()), (b"authorization", key.encode())]
    await app({"type": "http", "method": method, "path": path, "headers": headers}, None, send)
    return sent[0]["status"]


async def ordinary(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 299, "headers": []})


def known(principal=READER, **options):
    callers = KnownCallers(**options)
    callers.remember("Bearer k", principal)
    return callers


@pytest.mark.parametrize(
    ("callers", "owner", "request_"),
    [
        (KnownCallers(), "ann", {}),
        (known(), "ann", {"key": "Bearer other"}),
        (known(trust_seconds=0.0), "ann", {}),
        (known(Principal(owner="ann", key_id="k", scopes=frozenset({"models:read"}))), "ann", {}),
        (known(), "bob", {}),
        (known(), "ann", {"etag": '"2"'}),
        (known(), "ann", {"method": "POST"}),
        (known(), "ann", {"path": f"/v1/jobs/{JOB}/events"}),
        (known(), "ann", {"path": "/v1/jobs/job_" + "b" * 24}),
    ],
)
def test_whatever_is_not_an_unchanged_job_of_a_known_caller_goes_the_ordinary_way(callers, owner, request_):
    app = UnchangedJobs(ordinary, callers=callers, glances=CountedGlances(owner))
    assert asyncio.run(poll(app, **request_)) == 299


def test_an_unchanged_job_costs_a_304():
    app = UnchangedJobs(ordinary, callers=known(), glances=CountedGlances())
    assert asyncio.run(poll(app)) == 304


def test_polls_that_come_at_once_share_their_statements():
    glances = CountedGlances()
    app = UnchangedJobs(ordinary, callers=known(), glances=glances)

    async def many():
        return await asyncio.gather(*(poll(app) for _ in range(50)))

    assert set(asyncio.run(many())) == {304}
    assert len(glances.asked) <= 2


def test_a_key_that_expires_is_known_no_longer():
    soon = datetime.now(UTC) - timedelta(seconds=1)
    expired = Principal(owner="ann", key_id="k", scopes=READER.scopes, expires_at=soon)
    assert known(expired).find(b"Bearer k", "jobs:read") is None


def test_half_way_one_request_renews_the_trust_and_the_others_do_not_wait():
    callers = known(trust_seconds=60.0)
    (entry,) = callers._known.values()
    entry.renew_at = 0.0
    found = [callers.find(b"Bearer k", "jobs:read") for _ in range(3)]
    assert found == [None, READER, READER]
