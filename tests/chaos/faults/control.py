"""Family 3: reapers and dispatchers die, hints vanish or are forged."""

import random
import signal
import time

from heimdall_core.jobs.hints import JOBS_QUEUE, WAKE_TASK, producer_app
from tests.chaos.faults.chaos import Chaos, Found
from tests.chaos.faults.points import at_point
from tests.chaos.faults.valkey import redis_client
from tests.chaos.world import CONTROLS, send


def control_killed(chaos: Chaos, random_: random.Random) -> Found:
    """One or both of the reapers and dispatchers, or the clock."""
    names = random_.choice((CONTROLS, CONTROLS[:1], ("beat",)))
    for name in names:
        send(chaos.world.services[name].pid, signal.SIGKILL)
    return {"names": names}


def dispatcher_killed_before_hint(chaos: Chaos, _random: random.Random) -> Found:
    """Between the mark and the message."""
    at_point(
        chaos, "before_hint", "kill", prepare=lambda: chaos.workload.submit(chaos.workload.training(epochs=1))
    )
    return {}


def hints_dropped(chaos: Chaos, _random: random.Random) -> Found:
    """The queue vanishes while jobs are submitted."""
    jobs = []
    with redis_client(chaos) as client:
        for _ in range(3):
            jobs.append(chaos.workload.submit(chaos.workload.training(epochs=1)))
            client.delete("heimdall:jobs", "jobs")
            time.sleep(0.2)
    return {"jobs": jobs}


def hints_forged(chaos: Chaos, random_: random.Random) -> Found:
    """Wake-ups for nothing, and messages that are none."""
    app = producer_app(chaos.world.core_settings().redis)
    for _ in range(30):
        app.send_task(WAKE_TASK, queue=JOBS_QUEUE, expires=600, retry=False)
    app.send_task("heimdall.no_such_task", queue=JOBS_QUEUE, retry=False)
    app.send_task(WAKE_TASK, args=[1, "what"], queue=JOBS_QUEUE, retry=False)
    app.close()
    return {"messages": 32}
