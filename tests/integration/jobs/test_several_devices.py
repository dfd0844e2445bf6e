"""A job that wants several devices: who claims it, who waits for it, and what it is told."""

from typing import Any

import pytest
from sqlalchemy import func, insert, update

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.job import Priority
from heimdall_core.domain.spec import DatasetRef, ResourcesSpec, TrainJobSpec
from heimdall_core.jobs.capacity import can_run
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.queue_facts import QueuePolicy, WaitReason, queue_facts
from heimdall_core.jobs.submission import submit_job


def identity(name: str) -> WorkerIdentity:
    return WorkerIdentity(name=name, host=name, boot_id="boot", has_gpu=False)


def take(database: Database, worker: str = "a", *, free: int, most: int) -> Claim | None:
    with database.transaction() as session:
        return claim_job(session, identity(worker), lease_seconds=60, free_devices=free, all_devices=most)


def queue(database: Database, dataset: str, devices: int, **members: Any) -> str:
    resources = ResourcesSpec(devices=devices)
    with database.transaction() as session:
        spec = TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset), resources=resources, **members)
        return submit_job(session, spec, owner="alice").id


def announce(database: Database, name: str, slots: int, accelerator: str = "cpu") -> None:
    values = {"host": name, "boot_id": "boot", "pid": 1, "slots": slots, "accelerator": accelerator}
    with database.transaction() as session:
        session.execute(insert(Worker).values(name=name, **values))


def reason_of(database: Database, job_id: str) -> WaitReason:
    with database.transaction() as session:
        return queue_facts(session, [session.get_one(Job, job_id)], QueuePolicy())[job_id].reason


def test_a_host_with_fewer_slots_never_takes_it(database: Database, dataset: str) -> None:
    queue(database, dataset, 3)
    small = queue(database, dataset, 1)
    announce(database, "a", 2)
    claimed = take(database, free=2, most=2)
    assert claimed is not None
    assert (claimed.job_id, claimed.num_devices) == (small, 1)
    assert take(database, free=1, most=2) is None


def test_it_is_claimed_with_all_its_slots_or_not_at_all(database: Database, dataset: str) -> None:
    job_id = queue(database, dataset, 2)
    announce(database, "a", 2)
    assert take(database, free=1, most=2) is None
    claimed = take(database, free=2, most=2)
    assert claimed is not None
    assert (claimed.job_id, claimed.num_devices) == (job_id, 2)


def test_smaller_jobs_behind_it_do_not_starve_it(database: Database, dataset: str) -> None:
    running = queue(database, dataset, 1)
    announce(database, "a", 2)
    assert take(database, free=2, most=2).job_id == running  # type: ignore[union-attr]
    large, small = queue(database, dataset, 2), queue(database, dataset, 1)
    assert take(database, free=1, most=2) is None, "its slot is kept for the large one"
    assert take(database, free=2, most=2).job_id == large  # type: ignore[union-attr]
    assert take(database, free=1, most=2).job_id == small  # type: ignore[union-attr]


def test_one_that_goes_before_it_is_taken_though_it_is_small(database: Database, dataset: str) -> None:
    queue(database, dataset, 2)
    urgent = queue(database, dataset, 1, priority=Priority.HIGH)
    announce(database, "a", 2)
    assert take(database, free=1, most=2).job_id == urgent  # type: ignore[union-attr]


def test_only_the_worker_that_lacks_the_fewest_slots_waits_for_it(database: Database, dataset: str) -> None:
    for name in ("a", "b"):
        announce(database, name, 4)
        for _ in range(3 if name == "a" else 1):
            queue(database, dataset, 1)
            assert take(database, name, free=4, most=4) is not None
    queue(database, dataset, 4)
    small = queue(database, dataset, 1)
    assert take(database, "b", free=3, most=4) is None
    assert take(database, "a", free=1, most=4).job_id == small  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change", [{"draining_at": func.now()}, {"last_seen_at": func.now() - func.make_interval(0, 0, 0, 1)}]
)
def test_a_worker_that_takes_nothing_keeps_nobody_from_smaller_jobs(
    database: Database, dataset: str, change: dict[str, Any]
) -> None:
    announce(database, "a", 2)
    announce(database, "b", 2)
    with database.transaction() as session:
        session.execute(update(Worker).where(Worker.name == "b").values(**change))
    queue(database, dataset, 1)
    assert take(database, "a", free=2, most=2) is not None
    queue(database, dataset, 2)
    assert take(database, "a", free=1, most=2) is None, "b, which lacks fewer, does not count"


def test_more_large_jobs_than_are_looked_at_hide_no_small_one(database: Database, dataset: str) -> None:
    announce(database, "a", 4)
    announce(database, "b", 2)
    for _ in range(3):
        queue(database, dataset, 1)
        assert take(database, "a", free=4, most=4) is not None
    for _ in range(12):
        queue(database, dataset, 2)
    small = queue(database, dataset, 1)
    assert take(database, "a", free=1, most=4).job_id == small  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("slots", "accelerator", "fits"),
    [(1, "cpu", False), (2, "cpu", True), (4, "1 gpu", False), (2, "2 gpu", True)],
)
def test_what_fits_an_idle_worker(
    database: Database, dataset: str, slots: int, accelerator: str, fits: bool
) -> None:
    job_id = queue(database, dataset, 2)
    announce(database, "a", slots, accelerator)
    with database.transaction() as session:
        assert can_run(session.get_one(Worker, "a"), session.get_one(Job, job_id)) is fits


def test_it_is_told_whether_no_worker_is_large_enough_or_all_are_busy(
    database: Database, dataset: str
) -> None:
    running, waiting = queue(database, dataset, 1), queue(database, dataset, 2)
    announce(database, "small", 1)
    assert reason_of(database, waiting) is WaitReason.NO_WORKER
    announce(database, "a", 2)
    assert reason_of(database, waiting) is WaitReason.STARTING
    assert take(database, free=2, most=2).job_id == running  # type: ignore[union-attr]
    assert reason_of(database, waiting) is WaitReason.ACCELERATOR_BUSY
