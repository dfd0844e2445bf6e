"""What is to hold, as ratios of what was measured in one run, and whether it does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.paired import ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound, and what was measured: its median over the rounds, and the least and most of them."""

    name: str
    value: float
    least: float
    most: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool:
        """By the median."""
        is_enough = self.at_least is None or self.value >= self.at_least
        return is_enough and (self.at_most is None or self.value <= self.at_most)

    @property
    def bound(self) -> str:
        """As text."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


def judge(found: Mapping[str, Any]) -> list[Goal]:
    """Of the parts that were measured."""
    return [*_polling(found), *_submissions(found), *_pages(found), *_streams(found)]


def _polling(found: Mapping[str, Any]) -> Iterator[Goal]:
    if (part := found.get("polling")) is not None:
        for name in ("304_running", "304_queued"):
            yield _ratio(f"{name} / empty route", part[name], part["empty"], at_least=0.4)


def _submissions(found: Mapping[str, Any]) -> Iterator[Goal]:
    if (part := found.get("submissions")) is None:
        return
    for name in ("submit", "submit_with_key"):
        yield _ratio(f"{name} / bare insert", part[name], part["insert"], at_least=0.5)
    if "runs_create" in part:
        yield _ratio("submit / MLflow runs/create", part["submit"], part["runs_create"], at_least=3.0)
    for name in ("submit", "submit_with_key"):
        yield _goal(f"{name}, p99 ms", [turn["p99_ms"] for turn in part[name]["turns"]], at_most=100.0)


def _pages(found: Mapping[str, Any]) -> Iterator[Goal]:
    if (part := found.get("pages")) is not None:
        yield _ratio("last page / first page", part["last"], part["first"], at_least=0.9)


def _streams(found: Mapping[str, Any]) -> Iterator[Goal]:
    if (part := found.get("streams")) is not None:
        yield _goal("events, p99 ms after the commit", [r["p99_ms"] for r in part["rounds"]], at_most=200.0)
        yield _goal("events lost", [float(r["num_lost"]) for r in part["rounds"]], at_most=0.0)


def _ratio(name: str, one: Mapping[str, Any], other: Mapping[str, Any], *, at_least: float) -> Goal:
    return _goal(name, ratios(one, other), at_least=at_least)


def _goal(
    name: str, values: list[float], *, at_least: float | None = None, at_most: float | None = None
) -> Goal:
    return Goal(
        name=name,
        value=median(values),
        least=min(values),
        most=max(values),
        at_least=at_least,
        at_most=at_most,
    )
