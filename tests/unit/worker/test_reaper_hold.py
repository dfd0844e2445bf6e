"""After an outage of the database nobody is taken for lost before a lease has passed."""

import pytest

from worker import reaper_hold
from worker.reaper_hold import ReaperHold

LEASE = 60.0
LONG = 10_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(reaper_hold, "boot_seconds", lambda: now[0])
    return now


def test_without_an_outage_nothing_is_held_back(clock: list[float]) -> None:
    assert not ReaperHold(LEASE).holds(LONG)


def test_a_database_that_was_away_gives_every_worker_one_lease(clock: list[float]) -> None:
    hold = ReaperHold(LEASE)
    hold.database_away()
    clock[0] += 500
    assert hold.holds(LONG), "the lease counts from its return"
    clock[0] += LEASE - 1
    assert hold.holds(LONG)
    clock[0] += 2
    assert not hold.holds(LONG)


def test_a_database_that_has_just_started_counts_as_having_been_away(clock: list[float]) -> None:
    hold = ReaperHold(LEASE)
    assert hold.holds(LEASE - 1)
    assert not hold.holds(LEASE + 1)
