"""Claiming, keeping, losing and reaping on a real PostgreSQL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, JobAttempt, JobEvent
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.job import TRANSITIONS, JobStatus, Priority
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import Claim, LeaseLost, WorkerIdentity
from heimdall_core.jobs.dispatch import expire_waiting, mark_for_hint
from heimdall_core.jobs.leases import extend_lease, reap_expired, release_restarted
from heimdall_core.jobs.requests import cancel_job

Submit = Callable[..., str]
ClaimNext = Callable[..., Claim | None]
TRANSIENT = ErrorInfo(
    code="storage_unavailable", category=ErrorCategory.INFRA, message="away", retryable=True
)
FINAL = ErrorInfo(code="bad_data", category=ErrorCategory.DATA, message="bad")


def read(database: Database, job_id: str) -> Job:
    with database.transaction() as session:
        return session.get_one(Job, job_id)


def events(database: Database, job_id: str) -> list[str]:
    with database.transaction() as session:
        return list(
            session.scalars(select(JobEvent.name).where(JobEvent.job_id == job_id).order_by(JobEvent.id))
        )


def expire_lease(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        session.execute(
            update(Job).where(Job.id == job_id).values(lease_expires_at=func.now() - timedelta(seconds=1))
        )


def make_due(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(not_before=func.now()))


def reap(database: Database) -> list[str]:
    with database.transaction() as session:
        return [job.id for job in reap_expired(session)]


def test_a_claim_takes_the_lease_and_opens_an_attempt(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    job_id = submit()
    taken = claim()
    assert taken is not None
    assert (taken.job_id, taken.attempt) == (job_id, 1)
    job = read(database, job_id)
    assert (job.status, job.phase, job.lease_owner) == ("running", "preparing", "worker@a")
    with database.transaction() as session:
        assert session.get_one(JobAttempt, (job_id, 1)).worker == "worker@a"
    assert events(database, job_id) == ["job.queued", "job.started"]
    assert claim() is None


def test_priority_goes_before_age(submit: Submit, claim: ClaimNext) -> None:
    low, old, new, high = (
        submit(priority=Priority.LOW),
        submit(),
        submit(),
        submit(priority=Priority.HIGH),
    )
    taken = [c.job_id for c in (claim(), claim(), claim(), claim()) if c]
    assert taken == [high, old, new, low]


def test_two_workers_never_claim_the_same_job(submit: Submit, claim: ClaimNext) -> None:
    wanted = {submit() for _ in range(20)}
    with ThreadPoolExecutor(8) as pool:
        claims = [c for c in pool.map(lambda _: claim(), range(30)) if c]
    assert sorted(c.job_id for c in claims) == sorted(wanted)


def test_a_job_for_a_gpu_waits_for_a_worker_that_has_one(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    job_id = submit()
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(accelerator="gpu"))
    assert claim() is None
    taken = claim(WorkerIdentity(name="worker@gpu", host="gpu", boot_id="b", has_gpu=True))
    assert taken is not None


def test_an_expired_lease_puts_the_job_back_after_a_wait(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    job_id = submit()
    first = claim()
    assert first is not None
    expire_lease(database, job_id)
    assert reap(database) == [job_id]
    job = read(database, job_id)
    assert (job.status, job.failures, job.error) == ("queued", 1, None)
    assert claim() is None, "the back-off has not passed"
    make_due(database, job_id)
    second = claim()
    assert second is not None
    assert second.attempt == 2


def test_the_fence_refuses_everything_from_a_reaped_attempt(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    job_id = submit()
    stale = claim()
    assert stale is not None
    expire_lease(database, job_id)
    reap(database)
    make_due(database, job_id)
    assert claim() is not None, "the same worker holds the job again, under a new number"
    for change in (
        lambda s: extend_lease(s, stale, lease_seconds=60),
        lambda s: finishing.succeed(s, stale, artifacts=[], publish=lambda *_: {"stale": True}),
        lambda s: finishing.fail(s, stale, FINAL, exit_code=1),
        lambda s: finishing.finish_cancelled(s, stale, exit_code=75),
        lambda s: finishing.give_back(s, stale, exit_code=75),
    ):
        with pytest.raises(LeaseLost), database.transaction() as session:
            change(session)
    assert read(database, job_id).attempt == 2
    assert read(database, job_id).result is None


def test_a_job_that_keeps_losing_its_worker_fails_at_its_budget(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    job_id = submit(max_attempts=2)
    for _ in range(2):
        make_due(database, job_id)
        assert claim() is not None
        expire_lease(database, job_id)
        reap(database)
    job = read(database, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "worker_lost"
    assert job.finished_at is not None


def test_only_errors_that_may_pass_are_retried(database: Database, submit: Submit, claim: ClaimNext) -> None:
    passing, final = submit(), submit()
    for error in (TRANSIENT, FINAL):
        taken = claim()
        assert taken is not None
        with database.transaction() as session:
            finishing.fail(session, taken, error, exit_code=1)
    assert read(database, passing).status == "queued"
    assert read(database, final).status == "failed"


def test_giving_back_costs_no_retry(database: Database, submit: Submit, claim: ClaimNext) -> None:
    job_id = submit(max_attempts=1)
    for number in (1, 2, 3):
        taken = claim()
        assert taken is not None
        assert taken.attempt == number
        with database.transaction() as session:
            finishing.give_back(session, taken, exit_code=75)
    assert read(database, job_id).failures == 0


def test_a_reaped_job_that_was_to_be_cancelled_is_cancelled(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    job_id = submit()
    claim()
    with database.transaction() as session:
        assert cancel_job(session, job_id, owner="alice").status == "running"
    expire_lease(database, job_id)
    reap(database)
    assert read(database, job_id).status == "cancelled"


def test_a_restarted_worker_takes_back_only_what_it_held(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    mine, others = submit(), submit()
    claim()
    other = WorkerIdentity(name="worker@b", host="b", boot_id="b", has_gpu=False)
    claim(other)
    identity = WorkerIdentity(name="worker@a", host="a", boot_id="b", has_gpu=False)
    with database.transaction() as session:
        assert [job.id for job in release_restarted(session, identity)] == [mine]
    assert read(database, others).status == "running"


def test_two_reapers_end_an_attempt_once(database: Database, submit: Submit, claim: ClaimNext) -> None:
    job_ids = [submit() for _ in range(5)]
    for job_id in job_ids:
        claim()
        expire_lease(database, job_id)
    with ThreadPoolExecutor(4) as pool:
        reaped = [job for jobs in pool.map(lambda _: reap(database), range(4)) for job in jobs]
    assert sorted(reaped) == sorted(job_ids)
    assert all(read(database, job_id).failures == 1 for job_id in job_ids)


def test_cancelling_a_queued_job_is_immediate_and_repeatable(database: Database, submit: Submit) -> None:
    job_id = submit()
    for _ in range(2):
        with database.transaction() as session:
            assert cancel_job(session, job_id, owner="alice").status == "cancelled"
    assert events(database, job_id) == ["job.queued", "job.cancelled"]


def test_the_table_refuses_every_way_out_of_a_terminal_status(database: Database, submit: Submit) -> None:
    job_id = submit()
    with database.transaction() as session:
        cancel_job(session, job_id, owner="alice")
    assert not TRANSITIONS[JobStatus.CANCELLED]
    for status in ("queued", "running", "paused", "succeeded", "failed"):
        with pytest.raises(IntegrityError, match="terminal"), database.transaction() as session:
            session.execute(text("update training.job set status = :s"), {"s": status})


def test_a_running_job_without_a_lease_cannot_exist(database: Database, submit: Submit) -> None:
    submit()
    with pytest.raises(IntegrityError, match="ck_job_lease"), database.transaction() as session:
        session.execute(text("update training.job set status = 'running'"))


def test_forgotten_jobs_are_hinted_again_once_in_a_while(database: Database, submit: Submit) -> None:
    submit()
    submit()
    with database.transaction() as session:
        assert mark_for_hint(session, silence_seconds=30) == 2
    with database.transaction() as session:
        assert mark_for_hint(session, silence_seconds=30) == 0
        assert mark_for_hint(session, silence_seconds=0) == 2


def test_jobs_that_waited_too_long_expire(database: Database, submit: Submit) -> None:
    job_id = submit()
    with database.transaction() as session:
        assert expire_waiting(session, limit_seconds=3600) == 0
        assert expire_waiting(session, limit_seconds=0) == 1
    job = read(database, job_id)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "expired")
