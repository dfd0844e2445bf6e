"""Family 7: PostgreSQL out of reach, or gone."""

import random
import time

from tests.chaos.faults.chaos import Chaos, Found
from tests.chaos.faults.network import disturbed, proxies_of
from tests.chaos.world import CONTROLS, LEASE_SECONDS, WORKERS


def database_silent_for_one(chaos: Chaos, random_: random.Random) -> Found:
    """A partition between one worker and PostgreSQL; afterwards the packets arrive, or the connections end."""
    worker = random_.choice(WORKERS)
    seconds, resets = random_.uniform(0.3, 2.2) * LEASE_SECONDS, random_.random() < 0.5
    affected = chaos.running(worker)
    with disturbed(proxies_of(chaos, "postgres", (worker,)), "silent", resets=resets):
        time.sleep(seconds)
    return {"worker": worker, "seconds": round(seconds, 1), "resets": resets, "affected": affected}


def database_silent_for_all(chaos: Chaos, random_: random.Random) -> Found:
    """A partition between PostgreSQL and everybody."""
    seconds, resets = random_.uniform(0.3, 1.8) * LEASE_SECONDS, random_.random() < 0.5
    affected = chaos.running()
    with disturbed(proxies_of(chaos, "postgres"), "silent", resets=resets):
        time.sleep(seconds)
    return {"seconds": round(seconds, 1), "resets": resets, "affected": affected}


def database_closed(chaos: Chaos, random_: random.Random) -> Found:
    """Connections are reset and refused."""
    seconds = random_.uniform(0.1, 1.5) * LEASE_SECONDS
    affected = chaos.running()
    with disturbed(proxies_of(chaos, "postgres"), "closed"):
        time.sleep(seconds)
    return {"seconds": round(seconds, 1), "affected": affected}


def commit_answers_lost(chaos: Chaos, random_: random.Random) -> Found:
    """COMMITs are applied, their answers lost, the connections reset."""
    service = random_.choice((*WORKERS, *WORKERS, *CONTROLS))
    (proxy,) = proxies_of(chaos, "postgres", (service,))
    before, proxy.lose_commits = proxy.lost, random_.randint(1, 8)
    time.sleep(5)
    proxy.lose_commits = 0
    return {"service": service, "lost": proxy.lost - before}


def postgres_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of the postmaster and its backends, and recovery from the log."""
    down = random_.uniform(0.1, 3)
    chaos.world.restart_engine("postgres", down_seconds=down)
    return {"seconds": round(down, 1)}
