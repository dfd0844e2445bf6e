"""Whether one model is better than another, or lucky: a paired bootstrap over sessions. Pure: numpy alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.registry.session_errors import SessionErrors

RESAMPLES: Final = 2000
SEED: Final = 0
CONFIDENCE: Final = 0.95
LEAST_SESSIONS: Final = 10
"""Percentile intervals of fewer are too narrow to say that one model is better."""
_CHUNK_NUMBERS = 2_000_000
"""Numbers that are drawn at a time: 16 MB."""

Float = NDArray[np.float64]
Statistic = Callable[[Float], Float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A metric of two models on the same sessions; smaller is better."""

    metric: str
    first: float
    second: float
    difference: float
    """The second less the first."""
    low: float
    high: float
    """Ends of the 95 % interval of the difference."""


def compare_paired(first: SessionErrors, second: SessionErrors) -> list[Difference]:
    """Median error, mean error and mean NLL of both, with 95 % percentile intervals of their differences.

    A resample draws sessions with replacement and takes both models' values of them (Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, ch. 13). The seed is fixed: the same sessions give the same
    intervals.

    Raises:
        ValueError: the sessions differ, or there is none.
    """
    if first.session_ids != second.session_ids or not first.session_ids:
        raise ValueError("both must be measured on the same sessions, and on one at least")
    pairs = _values(first, second)
    drawn = _resampled_differences(pairs, len(first.session_ids))
    return [_difference(name, *pairs[name], drawn[name]) for name in pairs]


def _values(first: SessionErrors, second: SessionErrors) -> dict[str, tuple[Statistic, Float, Float]]:
    return {
        "median_error_m": (_median, first.error_m, second.error_m),
        "mean_error_m": (_mean, first.error_m, second.error_m),
        "nll_per_m2": (_mean, first.nll_per_m2, second.nll_per_m2),
    }


def _resampled_differences(
    pairs: Mapping[str, tuple[Statistic, Float, Float]], num_sessions: int
) -> dict[str, Float]:
    parts: dict[str, list[Float]] = {name: [] for name in pairs}
    for places in _draws(num_sessions):
        for name, (statistic, one, other) in pairs.items():
            parts[name].append(statistic(other[places]) - statistic(one[places]))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _draws(num_sessions: int) -> Iterator[NDArray[np.int64]]:
    """Places of sessions: (resamples, N), some resamples at a time."""
    rng = np.random.default_rng(SEED)
    at_a_time = max(1, min(RESAMPLES, _CHUNK_NUMBERS // num_sessions))
    for done in range(0, RESAMPLES, at_a_time):
        yield rng.integers(0, num_sessions, size=(min(at_a_time, RESAMPLES - done), num_sessions))


def _difference(name: str, statistic: Statistic, one: Float, other: Float, drawn: Float) -> Difference:
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    first, second = float(statistic(one)), float(statistic(other))
    return Difference(
        metric=name, first=first, second=second, difference=second - first, low=float(low), high=float(high)
    )


def _median(values: Float) -> Float:
    return np.asarray(np.median(values, axis=-1))


def _mean(values: Float) -> Float:
    return np.asarray(np.mean(values, axis=-1))
