"""Families 4, 8 and 14: something happens just where it hurts."""

import random
import time
from collections.abc import Callable

from tests.chaos.crash_points import Deed, arm, disarm
from tests.chaos.faults.chaos import Chaos, Found

WORKER_POINTS = (
    "in_claim",
    "after_claim",
    "before_spawn",
    "after_spawn",
    "before_t5",
    "in_t5",
    "after_t5",
)
TRAINER_POINTS = ("mid_step", "mid_checkpoint", "before_upload", "after_upload")
_POINT_SECONDS = 15.0


def at_point(chaos: Chaos, point: str, deed: Deed, *, prepare: Callable[[], object] = lambda: None) -> bool:
    """Arms the point and waits until a process has come by; False: none did."""
    with chaos.points:
        prepare()
        arm(chaos.world.folder, point, deed)
        deadline = time.monotonic() + _POINT_SECONDS
        while (chaos.world.folder / "armed" / point).exists():
            if time.monotonic() > deadline:
                return not disarm(chaos.world.folder, point)
            time.sleep(0.02)
        return True


def crash_point(chaos: Chaos, random_: random.Random) -> Found:
    """A process ends at one of the points where it hurts."""
    point = random_.choice(WORKER_POINTS + TRAINER_POINTS)
    deed: Deed = random_.choice(("kill", "kill", "segv"))
    return {"point": point, "deed": deed, "hit": at_point(chaos, point, deed)}


def trainer_crashed(chaos: Chaos, _random: random.Random) -> Found:
    """SIGSEGV in the middle of a step."""
    return {"hit": at_point(chaos, "mid_step", "segv")}


def memory_out(chaos: Chaos, _random: random.Random) -> Found:
    """The allocation fails in the middle of a step."""
    return {"hit": at_point(chaos, "mid_step", "memory")}


def terminated_at_point(chaos: Chaos, random_: random.Random) -> Found:
    """SIGTERM during a claim, a step, a checkpoint or the end."""
    point = random_.choice(("in_claim", "after_claim", "before_spawn", "mid_step", "mid_checkpoint", "in_t5"))
    return {"point": point, "hit": at_point(chaos, point, "term")}


def disk_full(chaos: Chaos, random_: random.Random) -> Found:
    """ENOSPC where a checkpoint or an artifact is written."""
    point = random_.choice(("mid_checkpoint", "before_upload", "before_spawn"))
    return {"point": point, "hit": at_point(chaos, point, "disk")}
