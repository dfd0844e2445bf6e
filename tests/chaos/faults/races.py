"""Families 9 and 10: several do the same at once."""

import contextlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from heimdall_core.database.job_tables import Job, JobAttempt
from heimdall_core.domain.spec import LimitsSpec
from heimdall_core.jobs import leases
from heimdall_core.jobs.dispatch import mark_for_hint
from heimdall_core.jobs.submission import submit_job
from tests.chaos.faults.chaos import Chaos, Found


def cancelled_while_reaped(chaos: Chaos, random_: random.Random) -> Found:
    """Jobs of nobody whose leases run out are cancelled while reapers take them back."""
    jobs = [_orphan(chaos) for _ in range(4)]
    offsets = [random_.gauss(0, 0.004) for _ in jobs]

    def race(job: str, offset: float) -> str:
        time.sleep(max(0.0, 0.05 + offset))
        return chaos.cancel(job)

    with ThreadPoolExecutor(8) as pool:
        reapers = [pool.submit(_reap_after, chaos, 0.05 + random_.gauss(0, 0.002)) for _ in range(2)]
        answers = list(pool.map(race, jobs, offsets))
        for reaper in reapers:
            reaper.result()
    return {"jobs": jobs, "answers": answers}


def reapers_and_dispatchers_race(chaos: Chaos, _random: random.Random) -> Found:
    """Four of each, all at once, beside the two that run anyway."""
    jobs = [_orphan(chaos) for _ in range(6)]
    barrier = threading.Barrier(8)

    def reap() -> int:
        barrier.wait(10)
        with chaos.database.transaction() as session:
            return len(leases.reap_expired(session))

    def dispatch() -> int:
        barrier.wait(10)
        with chaos.database.transaction() as session:
            return mark_for_hint(session, silence_seconds=0.0)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work) for work in (reap, dispatch) * 4]
        counts = [future.result() for future in futures]
    with chaos.database.transaction() as session:
        failures = session.scalars(select(Job.failures).where(Job.id.in_(jobs))).all()
    if any(count > 1 for count in failures if count) and max(failures) > 4:
        chaos.violation("a lease is reaped once", failures=list(failures))
    return {"jobs": jobs, "counts": counts}


def _orphan(chaos: Chaos) -> str:
    """A running job whose lease has run out and whose worker never was."""
    with chaos.database.transaction() as session:
        job = submit_job(
            session, chaos.workload.training(epochs=1, limits=LimitsSpec(max_attempts=5)), owner="ada"
        )
        job.status, job.attempt, job.lease_owner = "running", 1, "nobody"
        job.lease_expires_at = datetime.now(UTC) - timedelta(seconds=1)
        session.flush()
        session.add(JobAttempt(job_id=job.id, number=1, worker="nobody", host="none", boot_id="none"))
        return job.id


def _reap_after(chaos: Chaos, seconds: float) -> None:
    time.sleep(seconds)
    with contextlib.suppress(SQLAlchemyError), chaos.database.transaction() as session:
        leases.reap_expired(session)
