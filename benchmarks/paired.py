"""Loads that take turns, so that what else the machine does meets all of them alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.load import Load, MakeRequest, put_under_load

Rounds = Mapping[str, list[Load]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A load, and the server that bears it."""

    make: MakeRequest
    port: int
    pid: int
    clients: int = 50

    def run(self, seconds: float) -> Load:
        """One turn."""
        return put_under_load(self.port, self.make, clients=self.clients, seconds=seconds, pid=self.pid)


def take_turns(contenders: Mapping[str, Contender], *, rounds: int, seconds: float) -> Rounds:
    """Every load once in each round, after a first turn of each that does not count."""
    for contender in contenders.values():
        contender.run(1.0)
    found: dict[str, list[Load]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            found[name].append(contender.run(seconds))
    return found


def figures(rounds: Rounds) -> dict[str, Any]:
    """Of each load: medians over its turns, and what the turns had."""
    return {name: _figures(loads) for name, loads in rounds.items()}


def _figures(loads: list[Load]) -> dict[str, Any]:
    return {
        "per_second": round(median(load.per_second for load in loads), 1),
        "p50_ms": round(median(load.latency_ms(50) for load in loads), 2),
        "p99_ms": round(median(load.latency_ms(99) for load in loads), 2),
        "cpu_us": round(median(load.cpu_us for load in loads), 1),
        "turns": [
            {"per_second": round(load.per_second, 1), "p99_ms": round(load.latency_ms(99), 2)}
            for load in loads
        ],
        "statuses": sorted({status for load in loads for status in load.statuses}),
    }


def ratios(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[float]:
    """How many times as many answers a second one load had as the other, round by round."""
    pairs = zip(one["turns"], other["turns"], strict=True)
    return [a["per_second"] / b["per_second"] for a, b in pairs]
