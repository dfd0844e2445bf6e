"""What the injectors act on."""

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict
from heimdall_core.jobs.requests import cancel_job
from tests.chaos import trace
from tests.chaos.workload import Workload
from tests.chaos.world import World

Found = dict[str, Any]
Injector = Callable[["Chaos", random.Random], Found]


@dataclass(slots=True)
class Chaos:
    """What the injectors act on."""

    world: World
    workload: Workload
    database: Database
    #: One at a time arms a point.
    points: threading.Lock = field(default_factory=threading.Lock)
    engines: threading.Lock = field(default_factory=threading.Lock)

    def running(self, worker: str | None = None) -> list[tuple[str, int]]:
        """Jobs and attempts that run now."""
        with self.database.transaction() as session:
            query = select(Job.id, Job.attempt).where(Job.status == "running")
            if worker:
                query = query.where(Job.lease_owner == worker)
            return [(job_id, attempt) for job_id, attempt in session.execute(query)]

    def violation(self, rule: str, **data: Any) -> None:
        """Something that the promise forbids was seen."""
        trace.record("violation", rule=rule, **data)

    def cancel(self, job_id: str) -> str:
        """Cancels; says what came of it, and checks later that no attempt began afterwards."""
        with contextlib.suppress(Conflict):
            with self.database.transaction() as session:
                job = cancel_job(session, job_id, owner=None)
                status, attempt = job.status, job.attempt
            trace.record("cancel_answered", job=job_id, status=status, attempt=attempt)
            return status
        return "conflict"


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether it came true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
