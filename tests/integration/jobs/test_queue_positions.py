"""A position is the number of the claim that takes the job."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update

from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.job import JobKind, Priority
from heimdall_core.jobs.claiming import LIGHT_KINDS, WorkerIdentity, claim_job
from heimdall_core.jobs.queue_facts import DEFAULT_POLICY, _select_history, queue_facts

HERE = WorkerIdentity(name="worker@a", host="a", boot_id="boot", has_gpu=False, memory_bytes=8 * 10**9)


def announce(database: Database, **facts: Any) -> None:
    values = {"name": "worker@a", "host": "a", "boot_id": "boot", "pid": 1, "slots": 8, "accelerator": "cpu"}
    with database.transaction() as session:
        session.execute(insert(Worker).values(**{**values, **facts}))


@pytest.fixture
def enqueue(database: Database, submit: Callable[..., str]) -> Callable[[list[dict[str, Any]]], list[str]]:
    """Queues copies of one training, each with members of its own."""
    pattern_id = submit()

    def enqueue_rows(rows: list[dict[str, Any]]) -> list[str]:
        with database.transaction() as session:
            pattern = session.get_one(Job, pattern_id)
            pattern.status, pattern.finished_at = "cancelled", datetime.now(UTC)
            common = {"kind": "train", "spec": pattern.spec, "inputs": pattern.inputs, "owner": "alice"}
            jobs = [{**common, "id": new_id("job"), **row} for row in rows]
            session.execute(insert(Job), jobs)
        return [str(job["id"]) for job in jobs]

    return enqueue_rows


def crowd(random_: random.Random, count: int) -> list[dict[str, Any]]:
    """Jobs of unequal owners, of all priorities, many of them of the same moment."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    priorities = random_.choices(list(Priority), weights=(1, 4, 1), k=count)
    return [
        {
            "owner": random_.choices(("alice", "bob", "carol", "dan"), weights=(9, 3, 2, 1))[0],
            "priority": priority.value,
            "priority_rank": priority.rank,
            "created_at": long_ago + timedelta(seconds=random_.randrange(count // 3)),
        }
        for priority in priorities
    ]


def positions_of(database: Database, job_ids: Sequence[str]) -> list[int]:
    with database.transaction() as session:
        jobs = session.scalars(select(Job).where(Job.id.in_(job_ids))).all()
        found = queue_facts(session, jobs, DEFAULT_POLICY)
    return [found[job_id].position for job_id in job_ids]


def claim(database: Database, kinds: Sequence[JobKind] = tuple(JobKind)) -> str:
    with database.transaction() as session:
        taken = claim_job(session, HERE, lease_seconds=60, kinds=kinds)
    assert taken is not None
    return taken.job_id


@pytest.mark.parametrize("seed", range(4))
def test_the_job_at_position_n_is_taken_by_the_nth_claim(database: Database, enqueue: Any, seed: int) -> None:
    random_ = random.Random(seed)
    announce(database)
    jobs = enqueue(crowd(random_, 60))
    for _ in range(random_.randrange(12)):
        jobs.remove(claim(database))
    told = positions_of(database, jobs)
    order = [claim(database) for _ in jobs]
    assert [order.index(job) + 1 for job in jobs] == told


def test_a_job_is_told_the_same_alone_and_on_a_page(database: Database, enqueue: Any) -> None:
    announce(database)
    jobs = enqueue(crowd(random.Random(7), 30))
    taken = claim(database)
    waiting = [job for job in jobs if job != taken][::3]
    alone = [positions_of(database, [job])[0] for job in waiting]
    assert positions_of(database, waiting) == alone


def test_with_one_slot_only_priority_and_age_count(database: Database, enqueue: Any) -> None:
    announce(database, slots=1)
    jobs = enqueue(crowd(random.Random(3), 24))
    running = claim(database)
    jobs.remove(running)
    told = positions_of(database, jobs)
    order = []
    for _ in jobs:
        with database.transaction() as session:
            ended = {"status": "succeeded", "finished_at": func.now(), "lease_owner": None}
            session.execute(
                update(Job).where(Job.id == running).values(**ended, lease_expires_at=None, result={})
            )
        order.append(running := claim(database))
    assert [order.index(job) + 1 for job in jobs] == told


def test_an_import_does_not_stand_behind_trainings_where_it_has_slots_of_its_own(
    database: Database, enqueue: Any
) -> None:
    announce(database, light_slots=1)
    *trainings, first, second = enqueue([{"created_at": at} for at in moments(5)] + [{"kind": "import"}] * 2)
    assert positions_of(database, [first, second]) in ([1, 2], [2, 1])
    assert positions_of(database, trainings) == [1, 2, 3, 4, 5]
    assert claim(database, LIGHT_KINDS) in (first, second)


def test_an_import_waits_its_turn_where_all_share_the_slots(database: Database, enqueue: Any) -> None:
    announce(database, light_slots=0)
    *_, last = enqueue([{"created_at": at} for at in moments(5)] + [{"kind": "import"}])
    assert positions_of(database, [last]) == [6]


def moments(count: int) -> list[datetime]:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    return [long_ago + timedelta(seconds=n) for n in range(count)]


def test_a_job_that_was_claimed_meanwhile_does_not_count_itself(database: Database, enqueue: Any) -> None:
    announce(database)
    jobs = enqueue([{"created_at": at} for at in moments(3)])
    with database.transaction() as session:
        rows = session.scalars(select(Job).where(Job.id.in_(jobs))).all()
        assert claim(database) == jobs[0]
        found = queue_facts(session, rows, DEFAULT_POLICY)
    assert [found[job].position for job in jobs] == [1, 1, 2]


def test_a_kind_that_never_ran_is_not_looked_for_among_all_the_others(
    database: Database, enqueue: Any
) -> None:
    now = datetime.now(UTC)
    ended = {"status": "succeeded", "started_at": now - timedelta(minutes=1)}
    enqueue([{**ended, "finished_at": now - timedelta(seconds=n)} for n in range(3000)])
    with database.transaction() as session:
        session.execute(text("analyze training.job"))
        history = _select_history().compile(session.connection(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(session.scalars(text(f"explain {history}")))
        rows = session.execute(_select_history()).all()
    assert plan.count("using ix_job_succeeded") >= len(JobKind) - 1, plan
    assert {row.kind: row.p50 is not None for row in rows} == {kind: kind == "train" for kind in JobKind}
