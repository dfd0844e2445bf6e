"""Progress between events: who is told of it, when, and that nobody goes on after it."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from api.event_hub import Follower
from api.progress_watch import ProgressWatch
from heimdall_core.accounts.principal import Principal
from heimdall_core.jobs.progress import JobGlimpse
from heimdall_core.notifications.stream import EventFilter

CALLER = Principal(owner="ann", key_id="key_1", scopes=frozenset({"jobs:read"}))


def glimpse(job_id="job_1", revision=1, owner="ann", percent=10.0):
    return JobGlimpse(
        id=job_id,
        kind="train",
        owner=owner,
        model="north",
        attempt=2,
        revision=revision,
        at=datetime(2026, 3, 1, tzinfo=UTC),
        phase="training",
        progress={"percent": percent},
        metrics={"val_loss": 1.5},
    )


def follower(*, wants_progress=True, **wanted):
    return Follower(EventFilter(**wanted), CALLER, limit=10, wants_progress=wants_progress)


class Watched(ProgressWatch):
    """Reads from a list in place of a database, and notes for which jobs."""

    def __init__(self, followers):
        super().__init__(None, lambda: followers, every_seconds=1.0)
        self.running, self.asked = [], []

    def _read(self, job_ids):
        self.asked.append(job_ids)
        return list(self.running)


def told(watched, one):
    asyncio.run(watched.look())
    return [
        json.loads(frame.encoded.split(b"data: ")[1]) for frame in asyncio.run(one.take(within_seconds=0.001))
    ]


def test_nobody_is_looked_for_where_nobody_wants_to_know():
    watched = Watched([follower(wants_progress=False)])
    asyncio.run(watched.look())
    assert watched.asked == []


def test_a_change_is_told_once_and_without_an_id():
    one = follower(job_id="job_1")
    watched = Watched([one])
    watched.running = [glimpse()]
    (frame,) = told(watched, one)
    assert frame == {
        "event": "job.progress",
        "job_id": "job_1",
        "kind": "train",
        "model": "north",
        "attempt": 2,
        "created_at": "2026-03-01T00:00:00Z",
        "data": {"phase": "training", "progress": {"percent": 10.0}, "metrics": {"val_loss": 1.5}},
    }
    assert told(watched, one) == []
    watched.running = [glimpse(revision=2, percent=11.0)]
    assert [frame["data"]["progress"] for frame in told(watched, one)] == [{"percent": 11.0}]


def test_who_takes_late_gets_the_newest_of_each_job_alone():
    one = follower()
    watched = Watched([one])
    for revision in range(1, 4):
        watched.running = [glimpse(revision=revision, percent=revision), glimpse("job_2", revision)]
        asyncio.run(watched.look())
    frames = told(watched, one)
    assert [frame["job_id"] for frame in frames] == ["job_1", "job_2"]
    assert frames[0]["data"]["progress"] == {"percent": 3}


@pytest.mark.parametrize(
    ("wanted", "is_told"),
    [
        ({"owner": "ann"}, True),
        ({"owner": "bob"}, False),
        ({"job_id": "job_2"}, False),
        ({"kinds": ("import",)}, False),
        ({"model": "north"}, True),
        ({"names": ("job.failed",)}, True),
    ],
)
def test_a_follower_is_told_of_the_jobs_that_it_follows_whatever_names_it_wants(wanted, is_told):
    one = follower(**wanted)
    watched = Watched([one])
    watched.running = [glimpse()]
    assert bool(told(watched, one)) is is_told


def test_only_followed_jobs_are_looked_at_unless_somebody_follows_all():
    followers = [follower(job_id="job_1"), follower(job_id="job_2"), follower(wants_progress=False)]
    watched = Watched(followers)
    asyncio.run(watched.look())
    followers.append(follower())
    asyncio.run(watched.look())
    assert watched.asked == [{"job_1", "job_2"}, None]


def test_who_comes_when_nobody_was_there_is_told_how_things_stand():
    followers = [follower()]
    watched = Watched(followers)
    watched.running = [glimpse()]
    assert told(watched, followers[0])
    followers.clear()
    asyncio.run(watched.look())
    late = follower()
    followers.append(late)
    assert told(watched, late)


def test_whatever_goes_wrong_once_it_looks_again():
    class Faulty(Watched):
        def _read(self, job_ids):
            super()._read(job_ids)
            raise ValueError("no such thing")

    async def look_for_a_while():
        watched = Faulty([follower()])
        watched._every_seconds = 0.001
        looking = asyncio.create_task(watched.run())
        async with asyncio.timeout(10):
            while len(watched.asked) < 2 and not looking.done():
                await asyncio.sleep(0.001)
        looking.cancel()
        return len(watched.asked)

    assert asyncio.run(look_for_a_while()) >= 2
