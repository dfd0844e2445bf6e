"""Family 11: attempts that are over still speak."""

import random
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from heimdall_core.database.job_tables import Job, JobAttempt
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.jobs import finishing, leases, reporting
from heimdall_core.jobs.claiming import Claim, LeaseLost
from tests.chaos.faults.chaos import Chaos, Found


def late_reports(chaos: Chaos, random_: random.Random) -> Found:
    """Attempts that are over beat, report, finish, fail and give back: all refused."""
    tried = 0
    for claim in _ended_claims(chaos, random_):
        for name, say in _LATE.items():
            tried += 1
            try:
                with chaos.database.transaction() as session:
                    say(session, claim)
            except LeaseLost:
                continue
            chaos.violation("an attempt that is over changes nothing", job=claim.job_id, how=name)
    return {"tried": tried}


def _ended_claims(chaos: Chaos, random_: random.Random) -> list[Claim]:
    with chaos.database.transaction() as session:
        rows = session.execute(
            select(Job, JobAttempt)
            .join(JobAttempt, JobAttempt.job_id == Job.id)
            .where(JobAttempt.ended_at.is_not(None))
            .order_by((Job.status == "running").desc(), JobAttempt.ended_at.desc())
            .limit(40)
        ).all()
    chosen = random_.sample(rows, min(6, len(rows)))
    return [
        Claim(
            job_id=job.id,
            attempt=attempt.number,
            lease_owner=attempt.worker,
            kind=job.kind,
            owner=job.owner,
            spec=job.spec,
            inputs=job.inputs,
            max_attempts=job.max_attempts,
            failures=job.failures,
            waited_seconds=0.0,
            adjustments=job.adjustments,
            runtime_left_seconds=None,
        )
        for job, attempt in rows
        if (job, attempt) in [tuple(row) for row in chosen]
    ]


_LATE: dict[str, Callable[[Any, Claim], object]] = {
    "heartbeat": lambda s, c: leases.extend_lease(s, c, lease_seconds=60),
    "flags": leases.read_requests,
    "report": lambda s, c: reporting.write_report(
        s, c, reporting.Report(points={("late", 1): (1, 1.0)}, log=["late"]), number=10_000
    ),
    "success": lambda s, c: finishing.succeed(s, c, artifacts=[], publish=lambda _s, _j: {}),
    "failure": lambda s, c: finishing.fail(
        s, c, ErrorInfo(code="late", category=ErrorCategory.BUG, message="late"), exit_code=1
    ),
    "cancelled": lambda s, c: finishing.finish_cancelled(s, c, exit_code=None),
    "give_back": lambda s, c: finishing.give_back(s, c, exit_code=None),
}
