"""Pausing, finishing, resuming, retrying: one guarded change each, whatever happens at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, insert, text, update

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Checkpoint, Job
from heimdall_core.domain.errors import Conflict, ErrorCategory, ErrorInfo
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import Claim
from heimdall_core.jobs.leases import Requests, extend_lease, read_requests, reap_expired
from heimdall_core.jobs.requests import cancel_job, finish_job, pause_job, resume_job
from heimdall_core.jobs.retrying import retry_job
from tests.integration.histories import list_events

Submit = Callable[..., str]
ClaimNext = Callable[..., Claim | None]
OUT_OF_MEMORY = ErrorInfo(code="out_of_memory", category=ErrorCategory.OOM, message="no memory")


def ask(database: Database, request: Callable[..., Job], job_id: str, **options: Any) -> Job:
    with database.transaction() as session:
        job = request(session, job_id, owner="alice", **options)
        session.expunge(job)
    return job


def read(database: Database, job_id: str) -> Job:
    with database.transaction() as session:
        return session.get_one(Job, job_id)


def event_names(database: Database, job_id: str) -> list[str]:
    with database.transaction() as session:
        return [event["event"] for event in list_events(session, job_id)]


def running(submit: Submit, claim: ClaimNext, **options: Any) -> Claim:
    submit(**options)
    taken = claim()
    assert taken is not None
    return taken


def end_stopped(database: Database, taken: Claim) -> None:
    """What the supervisor tells when the trainer has checkpointed and gone."""
    with database.transaction() as session:
        finishing.give_back(session, taken, exit_code=75)


def test_a_paused_job_keeps_its_id_and_resumes_as_the_next_attempt(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    assert ask(database, pause_job, taken.job_id).status == "running"
    with database.transaction() as session:
        assert read_requests(session, taken) == Requests(pause=True)
    end_stopped(database, taken)
    job = read(database, taken.job_id)
    assert (job.status, job.failures, job.lease_owner) == ("paused", 0, None)
    assert claim() is None, "a paused job is nobody's"
    assert ask(database, resume_job, taken.job_id).status == "queued"
    again = claim()
    assert again is not None
    assert (again.job_id, again.attempt) == (taken.job_id, 2)
    with database.transaction() as session:
        assert read_requests(session, again) == Requests(), "the former request is served"
    assert event_names(database, taken.job_id) == [
        "job.queued",
        "job.started",
        "job.pause_requested",
        "job.paused",
        "job.resumed",
        "job.started",
    ]


@pytest.mark.parametrize("request_", [pause_job, finish_job])
def test_asking_twice_is_asking_once(
    database: Database, submit: Submit, claim: ClaimNext, request_: Callable[..., Job]
) -> None:
    taken = running(submit, claim)
    ask(database, request_, taken.job_id)
    before = read(database, taken.job_id).revision
    ask(database, request_, taken.job_id)
    names = event_names(database, taken.job_id)
    assert sum(name.endswith("_requested") for name in names) == 1
    assert read(database, taken.job_id).revision == before


@pytest.mark.parametrize("request_", [pause_job, finish_job])
def test_what_waits_cannot_be_paused_or_finished_and_the_answer_says_what_can(
    database: Database, submit: Submit, request_: Callable[..., Job]
) -> None:
    job_id = submit()
    with pytest.raises(Conflict, match="is queued") as refusal:
        ask(database, request_, job_id)
    assert refusal.value.stable_code == "job_not_in_state"


def test_one_request_excludes_the_other_but_cancelling_always_wins(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    ask(database, pause_job, taken.job_id)
    with pytest.raises(Conflict, match="asked to pause"):
        ask(database, finish_job, taken.job_id)
    ask(database, cancel_job, taken.job_id)
    end_stopped(database, taken)
    assert read(database, taken.job_id).status == "cancelled"


def test_a_job_that_is_still_being_paused_cannot_be_resumed_yet(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    ask(database, pause_job, taken.job_id)
    with pytest.raises(Conflict, match="only a paused job") as refusal:
        ask(database, resume_job, taken.job_id)
    assert "Wait" in (refusal.value.hint or "")


def test_a_worker_lost_while_pausing_leaves_a_paused_job(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    ask(database, pause_job, taken.job_id)
    with database.transaction() as session:
        expired = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 1)
        session.execute(update(Job).where(Job.id == taken.job_id).values(lease_expires_at=expired))
        reap_expired(session)
    assert read(database, taken.job_id).status == "paused"


def test_a_request_to_finish_outlives_the_attempt(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    ask(database, finish_job, taken.job_id)
    end_stopped(database, taken)
    again = claim()
    assert again is not None
    with database.transaction() as session:
        assert extend_lease(session, again, lease_seconds=60).finish


def test_a_paused_job_is_cancelled_at_once(database: Database, submit: Submit, claim: ClaimNext) -> None:
    taken = running(submit, claim)
    ask(database, pause_job, taken.job_id)
    end_stopped(database, taken)
    assert ask(database, cancel_job, taken.job_id).status == "cancelled"
    with pytest.raises(Conflict, match="is cancelled"):
        ask(database, resume_job, taken.job_id)


def test_memory_that_runs_out_is_answered_once_with_half_the_micro_batch(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    with database.transaction() as session:
        finishing.fail(session, taken, OUT_OF_MEMORY, exit_code=1)
    job = read(database, taken.job_id)
    assert (job.status, job.failures) == ("queued", 1)
    assert job.adjustments == {"micro_batch_size": 16, "accumulate_grad_batches": 2}
    with database.transaction() as session:
        told = list_events(session, job.id)[-1]
        session.execute(update(Job).values(not_before=func.now()))
    assert (told["event"], told["data"]["micro_batch_size"]) == ("job.requeued", 16)
    again = claim()
    assert again is not None
    assert again.adjustments == job.adjustments
    with database.transaction() as session:
        finishing.fail(session, again, OUT_OF_MEMORY, exit_code=1)
    ended = read(database, taken.job_id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["category"] == "oom"


@pytest.mark.parametrize(("batch", "micro", "accumulate"), [(32, 16, 2), (33, 11, 3), (7, 1, 7), (2, 1, 2)])
def test_the_effective_batch_stays_the_same(batch: int, micro: int, accumulate: int) -> None:
    job = Job(
        kind="train", adjustments={}, spec={"training": {"batch_size": batch, "accumulate_grad_batches": 1}}
    )
    assert finishing.smaller_micro_batch(job) == {
        "micro_batch_size": micro,
        "accumulate_grad_batches": accumulate,
    }


def end(database: Database, taken: Claim) -> None:
    with database.transaction() as session:
        error = ErrorInfo(code="bad_data", category=ErrorCategory.DATA, message="bad")
        finishing.fail(session, taken, error, exit_code=1)


def test_a_retry_is_a_new_job_of_the_same_spec_and_the_old_one_stays(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    end(database, taken)
    retried = ask(database, retry_job, taken.job_id, submitter="bob")
    old = read(database, taken.job_id)
    assert old.status == "failed"
    assert (retried.status, retried.parent_job_id, retried.owner) == ("queued", old.id, "bob")
    assert (retried.spec, retried.inputs) == (old.spec, old.inputs)
    assert (retried.failures, retried.attempt) == (0, 0)


def test_a_retry_from_the_checkpoint_names_it_and_one_without_begins_anew(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    with database.transaction() as session:
        row = {
            "id": "ckpt_1",
            "uri": "s3://m/7.ckpt",
            "sha256": "a" * 64,
            "num_bytes": 7,
            "epoch": 1,
            "step": 7,
        }
        session.execute(insert(Checkpoint).values(job_id=taken.job_id, attempt=1, **row))
    end(database, taken)
    retried = ask(database, retry_job, taken.job_id, submitter="alice", from_checkpoint=True)
    assert retried.inputs["resume_from"]["uri"] == "s3://m/7.ckpt"
    with pytest.raises(Conflict, match="is queued"):
        ask(database, retry_job, retried.id, submitter="alice")
    ask(database, cancel_job, retried.id)
    anew = ask(database, retry_job, retried.id, submitter="alice")
    assert "resume_from" not in anew.inputs


def test_a_retry_from_a_checkpoint_that_does_not_exist_is_refused(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    end(database, taken)
    with pytest.raises(Conflict) as refusal:
        ask(database, retry_job, taken.job_id, submitter="alice", from_checkpoint=True)
    assert refusal.value.stable_code == "no_checkpoint"


def test_a_cancel_that_meets_a_requeue_is_not_forgotten(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            finishing.give_back(session, taken, exit_code=75)
            answer = pool.submit(ask, database, cancel_job, taken.job_id)
            while not _somebody_waits_for_a_lock(database):
                assert not answer.done()
        assert answer.result(10).status == "cancelled"
    assert read(database, taken.job_id).status == "cancelled"


def _somebody_waits_for_a_lock(database: Database) -> bool:
    with database.transaction() as session:
        return session.scalar(text("select count(*) from pg_locks where not granted")) > 0


def test_a_reaper_sees_the_cancel_that_came_while_it_waited(
    database: Database, submit: Submit, claim: ClaimNext
) -> None:
    taken = running(submit, claim)
    with database.transaction() as session:
        expired = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 1)
        session.execute(update(Job).where(Job.id == taken.job_id).values(lease_expires_at=expired))
    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(ask, database, cancel_job, taken.job_id)
            reaped = pool.submit(_reap, database)
            asked.result(10)
            reaped.result(10)
        _reap(database)
        job = read(database, taken.job_id)
        assert job.status == "cancelled", "a queued job with a request to cancel is nobody's"
        taken = running(submit, claim)
        with database.transaction() as session:
            session.execute(update(Job).where(Job.id == taken.job_id).values(lease_expires_at=expired))


def _reap(database: Database) -> None:
    with database.transaction() as session:
        reap_expired(session)
