"""Families 6 and 11: processes that stop for a while and then go on."""

import random
import signal
import time
from collections.abc import Callable

from tests.chaos import trace
from tests.chaos.faults.chaos import Chaos, Found, wait_for
from tests.chaos.faults.points import at_point
from tests.chaos.faults.processes import is_frozen
from tests.chaos.world import LEASE_SECONDS, WORKERS, send


def _freeze(chaos: Chaos, random_: random.Random, pids: Callable[[str], list[int]]) -> Found:
    worker = random_.choice(WORKERS)
    seconds = random_.uniform(0.5, 2.5) * LEASE_SECONDS
    affected, frozen = chaos.running(worker), pids(worker)
    for pid in frozen:
        send(pid, signal.SIGSTOP)
    trace.record("frozen", pids=frozen)
    time.sleep(seconds)
    for pid in random_.sample(frozen, len(frozen)):
        send(pid, signal.SIGCONT)
    trace.record("thawed", pids=frozen)
    return {"worker": worker, "seconds": round(seconds, 1), "affected": affected, "processes": len(frozen)}


def supervisor_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """SIGSTOP of the worker, which is the supervisor of its trainers."""
    return _freeze(chaos, random_, lambda w: [chaos.world.services[w].pid])


def trainer_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """SIGSTOP of the trainers."""
    return _freeze(chaos, random_, chaos.world.trainers)


def fork_server_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """SIGSTOP of the fork server."""
    return _freeze(chaos, random_, lambda w: [p for p in [chaos.world.fork_server(w)] if p])


def all_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """A whole host sleeps."""

    def pids(worker: str) -> list[int]:
        server = chaos.world.fork_server(worker)
        own = [chaos.world.services[worker].pid, *([server] if server else [])]
        return [*own, *chaos.world.trainers(worker)]

    return _freeze(chaos, random_, pids)


def frozen_before_its_end(chaos: Chaos, random_: random.Random) -> Found:
    """A worker sleeps between the end of its trainer and the COMMIT of the success, and wakes too late.

    If it can, it wakes while the next attempt runs on the other worker: nothing but the fence stops it then.
    """
    if not at_point(chaos, "before_t5", "freeze"):
        return {"hit": False}
    wait_for(lambda: bool(_frozen_workers(chaos)), seconds=5)
    workers = _frozen_workers(chaos)
    pids = [chaos.world.services[w].pid for w in workers]
    trace.record("frozen", pids=pids)
    asleep = [attempt for worker in workers for attempt in chaos.running(worker)]
    time.sleep(LEASE_SECONDS)
    met = wait_for(lambda: _runs_again(asleep, chaos.running()), seconds=random_.uniform(6, 15))
    for pid in pids:
        send(pid, signal.SIGCONT)
    trace.record("thawed", pids=pids)
    return {"hit": bool(pids), "woke_beside_the_next": met}


def _frozen_workers(chaos: Chaos) -> list[str]:
    return [worker for worker in WORKERS if is_frozen(chaos.world.services[worker].pid)]


def _runs_again(earlier: list[tuple[str, int]], running: list[tuple[str, int]]) -> bool:
    """Whether a later attempt of one of these jobs runs."""
    return any(job == other and number > attempt for job, attempt in earlier for other, number in running)
