"""Slots of a host that a job takes several of."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from heimdall_core.jobs.claiming import Claim
from heimdall_core.settings import WorkerSettings
from worker.slots import HeavySlots, Slot, join_devices, plan_slots

CLAIM = Claim(
    job_id="job_x",
    attempt=1,
    lease_owner="w",
    kind="train",
    owner="o",
    spec={},
    inputs={},
    max_attempts=3,
    failures=0,
    waited_seconds=0,
    adjustments={},
    runtime_left_seconds=None,
)


def host(slots: int, gpus: tuple[str, ...] = ()) -> tuple[list[Slot], HeavySlots]:
    planned = [s for s in plan_slots(WorkerSettings(slots=slots), gpus) if s.is_heavy]
    return planned, HeavySlots(planned)


def wanting(num_devices: int, asked: list[tuple[int, int]] | None = None) -> Any:
    """A queue whose next job wants so many devices, if they are free."""

    def claim(free: int, most: int) -> Claim | None:
        if asked is not None:
            asked.append((free, most))
        return replace(CLAIM, num_devices=num_devices) if num_devices <= free else None

    return claim


def test_a_job_has_all_its_slots_until_it_is_over() -> None:
    (first, second, third), slots = host(3)
    taken = slots.take(second, wanting(2))
    assert taken is not None
    assert [s.name for s in taken[1]] == ["slot-1", "slot-0"]
    assert slots.take(first, wanting(1)) is None, "it is another job's"
    asked: list[tuple[int, int]] = []
    assert slots.take(third, wanting(2, asked)) is None
    assert asked == [(1, 3)]
    slots.give_back(taken[1])
    assert slots.take(first, wanting(3)) is not None


def test_two_jobs_of_two_devices_on_two_slots_go_one_after_the_other() -> None:
    (first, second), slots = host(2)
    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(lambda slot: slots.take(slot, wanting(2)), [first, second]))
    winners = [job for job in taken if job is not None]
    assert len(winners) == 1
    slots.give_back(winners[0][1])
    assert slots.take(second, wanting(2)) is not None


def test_the_devices_of_a_job_are_distinct_gpus_its_own_slots_first() -> None:
    planned, slots = host(4, ("0", "1"))
    asked: list[tuple[int, int]] = []
    taken = slots.take(planned[3], wanting(2, asked))
    assert asked == [(2, 2)], "two ranks on one GPU are no two devices"
    assert taken is not None
    assert join_devices(taken[1]) == "1,0"


@pytest.mark.parametrize(("devices", "joined"), [([None, None], None), ([""], ""), (["3", "1"], "3,1")])
def test_what_a_trainer_sees(devices: list[str | None], joined: str | None) -> None:
    slots = [Slot(name=str(n), kinds=(), devices=d) for n, d in enumerate(devices)]
    assert join_devices(slots) == joined
