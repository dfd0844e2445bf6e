"""Who goes next: priority, fair share, quota, routing, draining, limits; and what a waiting job is told."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, text, update

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.job import JobKind
from heimdall_core.domain.spec import DatasetRef, LimitsSpec, ResourcesSpec, TrainJobSpec
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.dispatch import expire_waiting
from heimdall_core.jobs.queue_facts import QueuePolicy, WaitReason, queue_facts
from heimdall_core.jobs.submission import submit_job

Submit = Callable[..., str]
HERE = WorkerIdentity(name="worker@a", host="a", boot_id="boot", has_gpu=False, memory_bytes=8 * 10**9)


def take(database: Database, worker: WorkerIdentity = HERE, **options: Any) -> Claim | None:
    with database.transaction() as session:
        return claim_job(session, worker, lease_seconds=60, **options)


def queue(database: Database, dataset: str, *, owner: str = "alice", **members: Any) -> str:
    with database.transaction() as session:
        spec = TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset), **members)
        return submit_job(session, spec, owner=owner).id


def announce(database: Database, name: str = "worker@a", **facts: Any) -> None:
    values = {"host": "a", "boot_id": "boot", "pid": 1, "slots": 1, "accelerator": "cpu", **facts}
    with database.transaction() as session:
        session.execute(insert(Worker).values(name=name, **values))


def facts_of(database: Database, *job_ids: str, **policy: Any) -> list[Any]:
    with database.transaction() as session:
        jobs = [session.get_one(Job, job_id) for job_id in job_ids]
        found = queue_facts(session, jobs, QueuePolicy(**policy))
    return [found[job_id] for job_id in job_ids]


def test_owners_share_the_slots_whoever_submitted_more(database: Database, submit: Submit) -> None:
    for _ in range(6):
        submit(owner="greedy")
    late = [submit(owner="modest") for _ in range(2)]
    owners = [c.owner for c in (take(database) for _ in range(4)) if c]
    assert owners == ["greedy", "modest", "greedy", "modest"]
    assert late


def test_an_owner_at_the_limit_waits_and_the_next_one_goes(database: Database, submit: Submit) -> None:
    first, second = submit(owner="alice"), submit(owner="alice")
    other = submit(owner="bob")
    taken = [take(database, max_running_per_owner=1) for _ in range(3)]
    assert [c.job_id for c in taken if c] == [first, other]
    (facts,) = facts_of(database, second, max_running_per_owner=1)
    assert facts.reason is WaitReason.QUOTA


def test_the_limit_holds_against_many_claims_at_once(database: Database, submit: Submit) -> None:
    for _ in range(12):
        submit(owner="alice")
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take(database, max_running_per_owner=3), range(16)))
    assert sum(c is not None for c in taken) == 3


def test_a_slot_takes_only_its_kinds(database: Database, submit: Submit) -> None:
    submit()
    assert take(database, kinds=(JobKind.IMPORT, JobKind.EXPORT)) is None
    assert take(database, kinds=(JobKind.TRAIN,)) is not None


def test_a_job_waits_for_the_memory_that_it_asks_for(database: Database, dataset: str) -> None:
    job_id = queue(database, dataset, resources=ResourcesSpec(min_memory_gb=24))
    announce(database, memory_bytes=8 * 10**9)
    assert take(database) is None
    assert facts_of(database, job_id)[0].reason is WaitReason.NO_WORKER
    large = WorkerIdentity(name="b", host="b", boot_id="b", has_gpu=False, memory_bytes=32 * 10**9)
    assert take(database, large) is not None


def test_a_draining_worker_takes_nothing_new(database: Database, submit: Submit) -> None:
    job_id = submit()
    announce(database, draining_at=func.now())
    assert take(database) is None
    assert facts_of(database, job_id)[0].reason is WaitReason.NO_WORKER
    with database.transaction() as session:
        session.execute(update(Worker).values(draining_at=None))
    assert take(database) is not None


def test_a_job_starts_no_earlier_than_asked(database: Database, dataset: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    job_id = queue(database, dataset, not_before=later)
    announce(database)
    assert take(database) is None
    (facts,) = facts_of(database, job_id)
    assert facts.reason is WaitReason.NOT_BEFORE
    with database.transaction() as session:
        assert session.get_one(Job, job_id).spec["not_before"] == later.isoformat().replace("+00:00", "Z")


def test_a_start_time_without_a_zone_is_refused_by_name(database: Database, dataset: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        queue(database, dataset, not_before=datetime(2030, 1, 1))  # noqa: DTZ001 - what is refused
    assert refusal.value.problems[0].pointer == "/not_before"


def test_a_job_expires_after_its_own_wait_and_not_before(database: Database, dataset: str) -> None:
    short = queue(database, dataset, limits=LimitsSpec(max_pending_seconds=60))
    patient = queue(database, dataset)
    with database.transaction() as session:
        session.execute(
            update(Job).values(
                queued_at=func.now() - timedelta(seconds=61), not_before=func.now() - timedelta(seconds=61)
            )
        )
        assert expire_waiting(session, limit_seconds=3600) == 1
    with database.transaction() as session:
        assert session.get_one(Job, short).error["code"] == "expired"
        assert session.get_one(Job, patient).status == "queued"


def test_what_is_left_of_the_running_time_counts_all_attempts(database: Database, dataset: str) -> None:
    job_id = queue(database, dataset, limits=LimitsSpec(max_runtime_seconds=100))
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(runtime_seconds=70))
    taken = take(database)
    assert taken is not None
    assert taken.runtime_left_seconds == pytest.approx(30)


def test_the_reason_tells_a_missing_worker_from_a_busy_one(database: Database, submit: Submit) -> None:
    first, second = submit(), submit()
    assert facts_of(database, first)[0].reason is WaitReason.NO_WORKER
    announce(database)
    assert facts_of(database, first)[0].reason is WaitReason.STARTING
    take(database)
    (facts,) = facts_of(database, second)
    assert (facts.position, facts.reason) == (1, WaitReason.ACCELERATOR_BUSY)


def test_a_silent_worker_counts_for_nothing(database: Database, submit: Submit) -> None:
    job_id = submit()
    announce(database, last_seen_at=func.now() - timedelta(hours=1))
    assert facts_of(database, job_id)[0].reason is WaitReason.NO_WORKER


def test_the_start_is_estimated_from_how_long_jobs_took(database: Database, submit: Submit) -> None:
    for seconds in (60, 60, 60, 600):
        ended = submit()
        with database.transaction() as session:
            began = func.now() - timedelta(seconds=seconds)
            session.execute(
                update(Job)
                .where(Job.id == ended)
                .values(status="succeeded", started_at=began, finished_at=func.now(), result={})
            )
    announce(database)
    running, first, second = submit(), submit(), submit()
    assert take(database) is not None
    near, far = facts_of(database, first, second)
    now = datetime.now(UTC)
    assert 30 < (near.estimated_start_at - now).total_seconds() < 70
    assert 90 < (far.estimated_start_at - now).total_seconds() < 130
    assert far.estimated_start_p90_at > far.estimated_start_at
    assert running


def test_without_history_nothing_is_estimated(database: Database, submit: Submit) -> None:
    job_id = submit()
    announce(database)
    assert facts_of(database, job_id)[0].estimated_start_at is None


def test_ten_thousand_queued_jobs_keep_their_order_and_no_owner_starves(
    database: Database, submit: Submit
) -> None:
    pattern = submit(owner="owner-0")
    with database.transaction() as session:
        session.execute(
            text(
                "insert into training.job (id, kind, owner, spec, inputs, priority, priority_rank, created_at)"
                " select 'job_' || n, kind, 'owner-' || (n % 7), spec, inputs,"
                " case when n % 10 = 0 then 'high' else 'normal' end, case when n % 10 = 0 then 2 else 1 end,"
                " now() + n * interval '1 millisecond' from training.job, generate_series(1, 10000) as n"
                " where id = :id"
            ),
            {"id": pattern},
        )
        session.execute(text("analyze training.job"))
    taken = [claim for claim in (take(database) for _ in range(70)) if claim]
    assert len(taken) == 70
    with database.transaction() as session:
        ranks = [session.get_one(Job, c.job_id).priority for c in taken]
    assert set(ranks) == {"high"}, "a thousand urgent jobs are there"
    counts = {owner: sum(c.owner == owner for c in taken) for owner in {c.owner for c in taken}}
    assert set(counts.values()) == {10}, "seven owners share evenly"
