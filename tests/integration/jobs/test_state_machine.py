"""Any order of anything that may happen to jobs keeps the promise: hypothesis plays all parts at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Artifact, Job, JobAttempt, JobEvent
from heimdall_core.domain.errors import Conflict, ErrorCategory, ErrorInfo
from heimdall_core.domain.job import TRANSITIONS, JobStatus, Priority
from heimdall_core.domain.spec import DatasetRef, LimitsSpec, TrainJobSpec
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import Claim, LeaseLost, WorkerIdentity, claim_job
from heimdall_core.jobs.dispatch import expire_waiting, mark_for_hint
from heimdall_core.jobs.leases import extend_lease, reap_expired, release_restarted
from heimdall_core.jobs.reporting import Report, write_report
from heimdall_core.jobs.requests import cancel_job, finish_job, pause_job, resume_job
from heimdall_core.jobs.retrying import retry_job
from heimdall_core.jobs.submission import submit_job

WORKERS = [WorkerIdentity(name=f"worker@{n}", host=n, boot_id="b", has_gpu=False) for n in ("a", "b")]
ERRORS = [
    ErrorInfo(code="storage_unavailable", category=ErrorCategory.INFRA, message="away", retryable=True),
    ErrorInfo(code="bad_data", category=ErrorCategory.DATA, message="bad"),
    ErrorInfo(code="out_of_memory", category=ErrorCategory.OOM, message="no memory"),
]
LONG = timedelta(days=100)


class Engine(RuleBasedStateMachine):
    """Callers, workers (some of them stale), reapers and clocks, in any order."""

    database: Database
    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.statuses: dict[str, str] = {}
        with self.database.transaction() as session:
            session.execute(
                update(Job).where(Job.status == "running").values(lease_expires_at=func.now() - LONG)
            )
            reap_expired(session, limit=1000)
            live = select(Job.id).where(Job.status.in_(["queued", "paused"]))
            for job_id in session.scalars(live):
                cancel_job(session, job_id, owner=None)

    @rule(
        target=jobs,
        owner=st.sampled_from(["alice", "bob"]),
        priority=st.sampled_from(Priority),
        max_attempts=st.integers(1, 3),
    )
    def submit(self, owner: str, priority: Priority, max_attempts: int) -> str:
        spec = TrainJobSpec(
            kind="train",
            dataset=DatasetRef(name="north"),
            priority=priority,
            limits=LimitsSpec(max_attempts=max_attempts, max_pending_seconds=3600),
        )
        with self.database.transaction() as session:
            job_id = submit_job(session, spec, owner=owner).id
        self.statuses[job_id] = "queued"
        return job_id

    @rule(target=claims, worker=st.sampled_from(WORKERS), quota=st.sampled_from([None, 1, 2]))
    def claim(self, worker: WorkerIdentity, quota: int | None) -> Any:
        with self.database.transaction() as session:
            session.execute(update(Job).where(Job.status == "queued").values(not_before=func.now()))
            claim = claim_job(session, worker, lease_seconds=60, max_running_per_owner=quota)
            if claim is not None and quota is not None:
                running = (Job.owner == claim.owner, Job.status == "running")
                assert (session.scalar(select(func.count()).select_from(Job).where(*running)) or 0) <= quota
        return multiple() if claim is None else claim

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        self._as_holder(claim, lambda s: extend_lease(s, claim, lease_seconds=60))

    @rule(claim=claims, number=st.integers(1, 5))
    def report(self, claim: Claim, number: int) -> None:
        report = Report(phase="training", points={("loss", number): (1, 0.5)}, log=["x\n"])
        self._as_holder(claim, lambda s: write_report(s, claim, report, number=number))

    @rule(claim=consumes(claims))
    def succeed(self, claim: Claim) -> None:
        artifact = {
            "name": "model.onnx",
            "kind": "onnx",
            "uri": "s3://m/x",
            "sha256": "a",
            "num_bytes": 1,
            "media_type": "x",
        }
        publish: Callable[[Session, Job], dict[str, Any]] = lambda *_: {"attempt": claim.attempt}  # noqa: E731
        self._as_holder(claim, lambda s: finishing.succeed(s, claim, artifacts=[artifact], publish=publish))

    @rule(claim=claims, error=st.sampled_from(ERRORS))
    def fail(self, claim: Claim, error: ErrorInfo) -> None:
        self._as_holder(claim, lambda s: finishing.fail(s, claim, error, exit_code=1))

    @rule(claim=claims, is_cancel=st.booleans())
    def stop(self, claim: Claim, is_cancel: bool) -> None:
        end = finishing.finish_cancelled if is_cancel else finishing.give_back
        self._as_holder(claim, lambda s: end(s, claim, exit_code=75))

    @rule(job_id=jobs, request=st.sampled_from([cancel_job, pause_job, finish_job, resume_job]))
    def ask(self, job_id: str, request: Callable[..., Job]) -> None:
        try:
            with self.database.transaction() as session:
                request(session, job_id, owner=None)
        except Conflict:
            return

    @rule(target=jobs, job_id=jobs)
    def retry(self, job_id: str) -> Any:
        try:
            with self.database.transaction() as session:
                retried = retry_job(session, job_id, owner=None, submitter="alice").id
        except Conflict:
            assert not JobStatus(self.statuses[job_id]).is_terminal
            return multiple()
        self.statuses[retried] = "queued"
        return retried

    @rule(claim=claims)
    def lose(self, claim: Claim) -> None:
        """The worker went silent, and a lease is long."""
        with self.database.transaction() as session:
            session.execute(
                update(Job)
                .where(Job.id == claim.job_id, Job.status == "running", Job.attempt == claim.attempt)
                .values(lease_expires_at=func.now() - LONG)
            )
            reap_expired(session)

    @rule(worker=st.sampled_from(WORKERS))
    def restart(self, worker: WorkerIdentity) -> None:
        with self.database.transaction() as session:
            release_restarted(session, worker)

    @rule(job_id=jobs)
    def wait_for_ever(self, job_id: str) -> None:
        with self.database.transaction() as session:
            waited = {"queued_at": func.now() - LONG, "not_before": func.now() - LONG}
            session.execute(update(Job).where(Job.id == job_id).values(**waited))
            expire_waiting(session, limit_seconds=30 * 86_400)

    @rule()
    def hint(self) -> None:
        with self.database.transaction() as session:
            mark_for_hint(session, silence_seconds=0)

    def _as_holder(self, claim: Claim, change: Callable[[Session], object]) -> None:
        """Whoever holds the job may change it; whoever does not is told so, and nothing happens."""
        with self.database.transaction() as session:
            job = session.get_one(Job, claim.job_id)
            present = (job.status, job.attempt, job.lease_owner)
        holds = present == ("running", claim.attempt, claim.lease_owner)
        try:
            with self.database.transaction() as session:
                change(session)
        except LeaseLost:
            assert not holds
        else:
            assert holds, "a stale attempt changed the job"

    @invariant()
    def every_change_is_a_transition_of_the_table(self) -> None:
        for job in self._jobs():
            before, now = JobStatus(self.statuses[job.id]), JobStatus(job.status)
            assert now is before or now in TRANSITIONS[before], f"{before} -> {now}"
            self.statuses[job.id] = job.status

    @invariant()
    def rows_agree_with_themselves(self) -> None:
        for job in self._jobs():
            is_running = job.status == "running"
            assert is_running == (job.lease_owner is not None)
            assert JobStatus(job.status).is_terminal == (job.finished_at is not None)
            assert job.failures <= job.max_attempts
            assert (job.status == "failed") == (job.error is not None)
            assert (job.status == "succeeded") == (job.result is not None)

    @invariant()
    def attempts_are_numbered_and_only_the_newest_is_open(self) -> None:
        for job in self._jobs():
            with self.database.transaction() as session:
                attempts = session.scalars(
                    select(JobAttempt).where(JobAttempt.job_id == job.id).order_by(JobAttempt.number)
                ).all()
            assert [a.number for a in attempts] == list(range(1, job.attempt + 1))
            is_open = [a.ended_at is None for a in attempts]
            assert not any(is_open[:-1])
            assert not attempts or is_open[-1] == (job.status == "running")

    @invariant()
    def one_result_is_published_and_only_by_who_succeeded(self) -> None:
        for job in self._jobs():
            with self.database.transaction() as session:
                artifacts = session.scalars(select(Artifact).where(Artifact.job_id == job.id)).all()
                endings = session.scalars(
                    select(JobEvent.name).where(
                        JobEvent.job_id == job.id,
                        JobEvent.name.in_(["job.succeeded", "job.failed", "job.cancelled"]),
                    )
                ).all()
            assert len(artifacts) == int(job.status == "succeeded")
            assert len(endings) == int(JobStatus(job.status).is_terminal)
            if job.result is not None:
                assert job.result["attempt"] == artifacts[0].attempt == job.attempt

    def _jobs(self) -> list[Job]:
        if not self.statuses:
            return []
        with self.database.transaction() as session:
            return list(session.scalars(select(Job).where(Job.id.in_(self.statuses))))


@pytest.mark.slow
@pytest.mark.usefixtures("dataset")
def test_whatever_happens_in_whatever_order_the_promise_is_kept(database: Database) -> None:
    machine = type("EngineUnderTest", (Engine,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
