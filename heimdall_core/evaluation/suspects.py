"""Which labels are improbable: sessions whose stated position neither model nor similar sessions support."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from heimdall_core.evaluation.baselines import fingerprint
from heimdall_core.evaluation.metrics import CHI_SQUARED_2, Float

Evidence = Literal["model", "neighbours"]
Places = NDArray[np.int64]

#: Of the larger of a split's own 90 % quantile and a Gaussian's: 4 x 4.605 is exceeded with p = 1e-4.
LIMIT_FACTOR: Final = 4.0
#: A quantile of fewer values says nothing about their tail.
_FEWEST_FOR_A_QUANTILE = 20

NUM_NEIGHBOURS: Final = 15
_FEWEST_NEIGHBOURS = 5
_LARGEST_POOL = 20_000
_CHUNK = 4096
#: The median of a circular Gaussian's radius, in sigmas: sqrt(2 ln 2).
_MEDIAN_RADIUS = 1.17741
#: Neighbours at one place are taken to be spread by this share of the spread of all sessions.
_SMALLEST_SPREAD = 0.02


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeighbourComparison:
    """How far labels lie from those of the sessions with the most similar levels; NaN: too few of them."""

    distance_m: Float
    """(M,) from the neighbours' median position."""
    squared: Float
    """(M,) the same in sigmas, squared; the variance is the neighbours' own plus the median one."""


def compare_with_neighbours(snr_db: Float, positions_km: Float, places: Places) -> NeighbourComparison:
    """Compares the label of each of the M ``places`` with the 15 sessions whose levels are most similar.

    Median and median distance are used, so that a few wrong labels among the neighbours do no harm. Beyond
    20,000 sessions the neighbours come from a fixed random choice of so many.

    Args:
        snr_db: (N, R), NaN where a receiver is absent.
        positions_km: (N, 2) labels, east and north.
        places: which sessions to compare, ascending.
    """
    pool = _pool(len(positions_km))
    num_neighbours = min(NUM_NEIGHBOURS, len(pool) - 1)
    if num_neighbours < _FEWEST_NEIGHBOURS:
        unknown = np.full(len(places), np.nan)
        return NeighbourComparison(distance_m=unknown, squared=unknown)
    levels = fingerprint(snr_db)
    search = NearestNeighbors(n_neighbors=num_neighbours + 1, algorithm="brute").fit(levels[pool])
    smallest_km = _SMALLEST_SPREAD * float(np.sqrt(positions_km.var(axis=0).sum()))
    parts = [
        _compare(search, pool, levels, positions_km, places[start : start + _CHUNK], smallest_km)
        for start in range(0, len(places), _CHUNK)
    ]
    distance_km, spread_km = (np.concatenate(part) for part in zip(*parts, strict=True))
    variance = spread_km**2 + np.median(spread_km) ** 2
    return NeighbourComparison(distance_m=distance_km * 1e3, squared=distance_km**2 / variance)


def judge_labels(model: Float, neighbours: Float) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Float]:
    """Which labels of a split are improbable by the model, which by the neighbours, and how improbable.

    By the model: its squared distance exceeds ``limit_of`` those of the split. By the neighbours: theirs
    does so, and the model's is among the split's largest tenth. A network that was trained on a wrong label
    has come near to it, seldom near enough to leave that tenth.

    Returns:
        Two masks, and the sum of both squared distances in units of their limits: (M,) each.
    """
    by_model = model / limit_of(model)
    by_neighbours = np.nan_to_num(neighbours / limit_of(neighbours))
    doubted = model >= np.quantile(model, 0.9)
    return by_model > 1.0, (by_neighbours > 1.0) & doubted, by_model + by_neighbours


def limit_of(squared: Float) -> float:
    """The squared distance above which a label counts as improbable.

    Four times the 90 % quantile of these distances, and never less than four times that of a calibrated
    Gaussian, which one correct label in 10,000 exceeds.
    """
    known = squared[np.isfinite(squared)]
    own = float(np.quantile(known, 0.9)) if len(known) >= _FEWEST_FOR_A_QUANTILE else 0.0
    return LIMIT_FACTOR * max(own, CHI_SQUARED_2[90])


def _pool(num_sessions: int) -> Places:
    if num_sessions <= _LARGEST_POOL:
        return np.arange(num_sessions)
    return np.sort(np.random.default_rng(0).choice(num_sessions, _LARGEST_POOL, replace=False))


def _compare(
    search: NearestNeighbors,
    pool: Places,
    levels: Float,
    positions_km: Float,
    places: Places,
    smallest_km: float,
) -> tuple[Float, Float]:
    """Distance from the neighbours' median, and the neighbours' spread (one sigma), km: (M,) each."""
    found = pool[search.kneighbors(levels[places], return_distance=False)]
    others = _without_itself(found, places)
    centre = np.median(positions_km[others], axis=1)
    radius = np.median(np.linalg.norm(positions_km[others] - centre[:, None], axis=2), axis=1)
    distance = np.linalg.norm(positions_km[places] - centre, axis=1)
    return distance, np.maximum(radius / _MEDIAN_RADIUS, max(smallest_km, 1e-6))


def _without_itself(found: Places, places: Places) -> Places:
    """(M, k + 1) neighbours less the session itself, or less the farthest where it is not among them."""
    is_itself = found == places[:, None]
    is_itself[:, -1] |= ~is_itself.any(axis=1)
    return found[~is_itself].reshape(len(places), -1)
