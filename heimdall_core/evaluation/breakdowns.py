"""Where a model is good and where not: metrics by receivers heard and by signal strength."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heimdall_core.evaluation.metrics import Float, Predictions, evaluate

_SNR_BINS = 4
_FEWEST_PER_BIN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The metrics of some of the sessions."""

    low: float
    """Smallest value of what the sessions are grouped by."""
    high: float
    """Largest value."""
    num_sessions: int
    metrics: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """Where the transmitters of the predictions were, and how they were heard."""

    latitude: Float
    longitude: Float
    snr_db: Float
    """(N, R), NaN where absent."""
    origin: tuple[float, float]

    def evaluate(self, predictions: Predictions, members: NDArray[np.int64]) -> dict[str, float]:
        """The metrics of the sessions at ``members``."""
        return self.evaluate_these(predictions.take(members), members)

    def evaluate_these(self, predictions: Predictions, members: NDArray[np.int64]) -> dict[str, float]:
        """The metrics of predictions of the sessions at ``members`` alone."""
        return evaluate(predictions, self.latitude[members], self.longitude[members], self.origin)


def by_receivers_heard(predictions: Predictions, truth: Truth) -> list[Group]:
    """One group for each number of receivers that heard the transmission, ascending."""
    heard = (~np.isnan(truth.snr_db)).sum(axis=1)
    members = [np.flatnonzero(heard == number) for number in np.unique(heard)]
    return _groups(predictions, truth, heard.astype(np.float64), members)


def by_snr(predictions: Predictions, truth: Truth) -> list[Group]:
    """Up to four groups of equal size by the mean SNR, dB, of the receivers that heard; none for silence."""
    heard = np.flatnonzero((~np.isnan(truth.snr_db)).any(axis=1))
    mean_db = np.full(len(truth.snr_db), np.nan)
    mean_db[heard] = np.nanmean(truth.snr_db[heard], axis=1)
    order = heard[np.argsort(mean_db[heard], kind="stable")]
    num_bins = int(np.clip(len(order) // _FEWEST_PER_BIN, 1, _SNR_BINS))
    members = [part for part in np.array_split(order, num_bins) if len(part)]
    return _groups(predictions, truth, mean_db, members)


def _groups(
    predictions: Predictions, truth: Truth, values: Float, members: Sequence[NDArray[np.int64]]
) -> list[Group]:
    return [
        Group(
            low=float(values[m].min()),
            high=float(values[m].max()),
            num_sessions=len(m),
            metrics=truth.evaluate(predictions, m),
        )
        for m in members
    ]
