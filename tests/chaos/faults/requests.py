"""Family 9: callers who change their minds."""

import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

from heimdall_core.domain.errors import Conflict
from heimdall_core.jobs.requests import finish_job, pause_job, resume_job
from tests.chaos.faults.chaos import Chaos, Found, wait_for


def cancelled(chaos: Chaos, random_: random.Random) -> Found:
    """At once, while it is claimed, while it runs, or about when it ends; by two callers."""
    job = chaos.workload.submit(chaos.workload.training(epochs=random_.choice((1, 30))))
    time.sleep(random_.choice((0.0, random_.uniform(0, 1.5), random_.uniform(1, 6))))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(chaos.cancel, [job, job]))
    return {"job": job, "answers": answers}


def paused_and_resumed(chaos: Chaos, random_: random.Random) -> Found:
    """A running job is paused, and resumed some seconds later."""
    job = chaos.workload.submit(chaos.workload.training(epochs=30))
    wait_for(lambda: any(job == j for j, _ in chaos.running()), seconds=30)
    time.sleep(random_.uniform(0, 2))
    found: Found = {"job": job}
    with contextlib.suppress(Conflict), chaos.database.transaction() as session:
        found["paused"] = pause_job(session, job, owner=None).status
    time.sleep(random_.uniform(0, 6))
    with contextlib.suppress(Conflict), chaos.database.transaction() as session:
        found["resumed"] = resume_job(session, job, owner=None).status
    return found


def finished_early(chaos: Chaos, random_: random.Random) -> Found:
    """A long training is asked to end with what it has."""
    running = chaos.running()
    if not running:
        return {"hit": False}
    job, _ = random_.choice(running)
    with contextlib.suppress(Conflict), chaos.database.transaction() as session:
        finish_job(session, job, owner=None)
        return {"job": job, "hit": True}
    return {"job": job, "hit": False}
