"""Families 5, 8 and 12: processes that end, and one that does not want to."""

import random
import signal
import time

from heimdall_core.domain.spec import LimitsSpec
from tests.chaos.faults.chaos import Chaos, Found, wait_for
from tests.chaos.faults.processes import is_frozen, is_running
from tests.chaos.world import WORKERS, send


def worker_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of the supervisor."""
    worker = random_.choice(WORKERS)
    service = chaos.world.services[worker]
    service.pause_seconds = random_.choice((0.2, 0.2, 9.0))
    affected = chaos.running(worker)
    trainers = chaos.world.trainers(worker)
    send(service.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive := [p for p in trainers if is_running(p) and not is_frozen(p)]:
        if time.monotonic() > deadline:
            chaos.violation("no trainer outlives its worker", pids=alive)
            break
        time.sleep(0.02)
    return {"worker": worker, "affected": affected}


def trainer_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of trainers."""
    worker = random_.choice(WORKERS)
    affected = chaos.running(worker)
    pids = chaos.world.trainers(worker)
    return {"affected": affected, "hit": [send(pid, signal.SIGKILL) for pid in pids]}


def fork_server_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of the process that trainers are forked from."""
    worker = random_.choice(WORKERS)
    affected, pid = chaos.running(worker), chaos.world.fork_server(worker)
    return {"affected": affected, "hit": bool(pid and send(pid, signal.SIGKILL))}


def stubborn_cancelled(chaos: Chaos, _random: random.Random) -> Found:
    """A trainer that hears neither the request nor SIGTERM is cancelled."""
    job = chaos.workload.submit(chaos.workload.training(epochs=400, behaviour="stubborn"))
    wait_for(lambda: any(job == j for j, _ in chaos.running()), seconds=30)
    time.sleep(1)
    return {"job": job, "answer": chaos.cancel(job)}


def worker_terminated(chaos: Chaos, random_: random.Random) -> Found:
    """SIGTERM at any moment."""
    worker = random_.choice(WORKERS)
    affected = chaos.running(worker)
    chaos.world.services[worker].pause_seconds = 0.2
    return {
        "worker": worker,
        "affected": affected,
        "hit": send(chaos.world.services[worker].pid, signal.SIGTERM),
    }


def poison(chaos: Chaos, random_: random.Random) -> Found:
    """A job that kills every trainer."""
    limits = LimitsSpec(max_attempts=random_.randint(1, 3))
    return {
        "job": chaos.workload.submit(chaos.workload.training(epochs=1, behaviour="poison", limits=limits))
    }
