"""What goes wrong and when: a pure function of the seed."""

import random
from dataclasses import dataclass

#: Faults by family of RELIABILITY's list, with their weight in the mix.
MIX: dict[str, tuple[int, float]] = {
    "api_killed": (1, 5),
    "api_commit_answer_lost": (1, 4),
    "valkey_away": (2, 6),
    "valkey_flushed": (2, 3),
    "valkey_restarted_empty": (2, 3),
    "control_killed": (3, 4),
    "dispatcher_killed_before_hint": (3, 3),
    "hints_dropped": (3, 2),
    "hints_forged": (3, 3),
    "crash_point": (4, 34),
    "worker_killed": (5, 14),
    "trainer_killed": (5, 16),
    "fork_server_killed": (5, 8),
    "trainer_crashed": (5, 6),
    "memory_out": (5, 4),
    "stubborn_cancelled": (5, 4),
    "supervisor_frozen": (6, 14),
    "trainer_frozen": (6, 8),
    "all_frozen": (6, 10),
    "fork_server_frozen": (6, 5),
    "database_silent_for_one": (7, 16),
    "database_silent_for_all": (7, 6),
    "database_closed": (7, 6),
    "commit_answers_lost": (7, 14),
    "postgres_killed": (7, 4),
    "worker_terminated": (8, 8),
    "terminated_at_point": (8, 6),
    "cancelled": (9, 14),
    "cancelled_while_reaped": (9, 10),
    "paused_and_resumed": (9, 8),
    "finished_early": (9, 4),
    "reapers_and_dispatchers_race": (10, 6),
    "late_reports": (11, 14),
    "frozen_before_its_end": (11, 8),
    "poison": (12, 5),
    "storage_away": (14, 10),
    "disk_full": (14, 5),
    "checkpoint_corrupted": (14, 6),
}
#: They take away what the others need; never two at once.
EXCLUSIVE = {"postgres_killed", "database_silent_for_all", "database_closed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One entry."""

    at_seconds: float
    kind: str
    seed: int

    @property
    def family(self) -> int:
        """Its number in the list of RELIABILITY."""
        return MIX[self.kind][0]


def plan_faults(seed: int, *, count: int, seconds: float, kinds: tuple[str, ...] = ()) -> list[Fault]:
    """``count`` faults over the time, every kind at least once if there are enough."""
    random_ = random.Random(f"faults {seed}")
    chosen = {k: w for k, (_, w) in MIX.items() if not kinds or k in kinds}
    names = list(chosen) if count >= len(chosen) else []
    names += random_.choices(list(chosen), weights=list(chosen.values()), k=count - len(names))
    random_.shuffle(names)
    times = sorted(random_.uniform(0, seconds) for _ in names)
    return [
        Fault(at_seconds=round(at, 2), kind=kind, seed=random_.getrandbits(32))
        for at, kind in zip(times, names, strict=True)
    ]


def plan_arrivals(seed: int, *, count: int, seconds: float) -> list[float]:
    """When jobs are submitted: in bursts of one to five."""
    random_ = random.Random(f"arrivals {seed}")
    times: list[float] = []
    while len(times) < count:
        at = random_.uniform(0, seconds)
        times += [at] * min(random_.randint(1, 5), count - len(times))
    return sorted(times)
