"""What the model makes of every session, and which labels are improbable: ``residuals.json``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import Split
from heimdall_core.evaluation.metrics import Float, Predictions, error_m, residual_m, squared_mahalanobis
from heimdall_core.evaluation.suspects import (
    Evidence,
    NeighbourComparison,
    compare_with_neighbours,
    judge_labels,
    limit_of,
)
from heimdall_core.features.feature_set import FeatureSet

RESIDUALS_SCHEMA: Final = 1
_READING: Final[Mapping[str, str]] = {
    "squared_mahalanobis": "squared distance of the label from the prediction, in the predicted standard "
    "deviations; of calibrated predictions it exceeds 4.6 once in ten and 18.4 once in 10,000 times",
    "p_value": "how often a calibrated prediction would be off so far or farther",
    "neighbours_m": "distance of the label from the median position of the 15 sessions of the dataset with "
    "the most similar levels",
    "trained_on": "true: the network was fitted to this label, wrong or not, so a small residual proves "
    "nothing; false: it was not; null: not known",
    "suspects": "labels that are improbable, the least probable first. Evidence 'model': the squared "
    "distance is above the limit of the split, four times the larger of 4.6 and the split's own 90 % "
    "quantile. Evidence 'neighbours': the label lies as far beyond the spread of the 15 sessions with the "
    "most similar levels, and the model's distance is among the split's largest tenth. Look at the "
    "recordings before you reject one: a place that the model does not know looks the same",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A session whose label is improbable."""

    place: int
    """In the residuals."""
    evidence: tuple[Evidence, ...]
    improbability: float
    """The squared distances by model and by neighbours in units of their limits, added."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """M sessions, their labels and what the model predicts; every array is (M,)."""

    session_ids: tuple[str, ...]
    splits: tuple[Split, ...]
    trained_on: tuple[bool | None, ...]
    """Whether the network was fitted to the label; None: not known."""
    latitude: Float
    longitude: Float
    predictions: Predictions
    error_m: Float
    squared_distance: Float
    neighbours: NeighbourComparison
    receivers_heard: NDArray[np.int64]
    mean_snr_db: Float
    """NaN where no receiver heard."""

    def suspects(self) -> list[Suspect]:
        """The sessions with improbable labels, the least probable first; see ``judge_labels``."""
        found: list[Suspect] = []
        for split in dict.fromkeys(self.splits):
            members = np.flatnonzero(np.array(self.splits) == split)
            by_model, by_neighbours, improbability = judge_labels(
                self.squared_distance[members], self.neighbours.squared[members]
            )
            found += [
                Suspect(
                    place=int(members[i]),
                    evidence=_evidence(model=bool(by_model[i]), neighbours=bool(by_neighbours[i])),
                    improbability=float(improbability[i]),
                )
                for i in np.flatnonzero(by_model | by_neighbours)
            ]
        return sorted(found, key=lambda suspect: -suspect.improbability)

    def write(self, path: Path) -> Path:
        """Writes JSON with one session to a line."""
        head = json.dumps(self._head(), indent=1, ensure_ascii=False, allow_nan=False)
        suspects = _lines(self._suspect_row(s) for s in self.suspects())
        sessions = _lines(self._row(i) for i in range(len(self.session_ids)))
        path.write_text(
            f'{head.removesuffix("}").rstrip()},\n "suspects": [{suspects}],\n "sessions": [{sessions}]\n}}\n'
        )
        return path

    def _head(self) -> dict[str, Any]:
        return {
            "schema": RESIDUALS_SCHEMA,
            "reading": dict(_READING),
            "splits": {split: self._of_split(split) for split in dict.fromkeys(self.splits)},
        }

    def _of_split(self, split: Split) -> dict[str, Any]:
        members = np.array(self.splits) == split
        squared = self.squared_distance[members]
        return {
            "num_sessions": int(members.sum()),
            "median_squared_mahalanobis": round(float(np.median(squared)), 3),
            "p90_squared_mahalanobis": round(float(np.quantile(squared, 0.9)), 3),
            "limit": round(limit_of(squared), 3),
        }

    def _row(self, i: int) -> dict[str, Any]:
        predicted = self.predictions
        return {
            "session_id": self.session_ids[i],
            "split": self.splits[i],
            "trained_on": self.trained_on[i],
            "latitude": round(float(self.latitude[i]), 6),
            "longitude": round(float(self.longitude[i]), 6),
            "predicted_latitude": round(float(predicted.latitude[i]), 6),
            "predicted_longitude": round(float(predicted.longitude[i]), 6),
            "error_m": round(float(self.error_m[i]), 1),
            "sigma_east_m": round(float(predicted.sigma_east_m[i]), 1),
            "sigma_north_m": round(float(predicted.sigma_north_m[i]), 1),
            "correlation": round(float(predicted.correlation[i]), 4),
            "squared_mahalanobis": round(float(self.squared_distance[i]), 3),
            "p_value": float(f"{np.exp(-0.5 * self.squared_distance[i]):.3g}"),
            "neighbours_m": _rounded(self.neighbours.distance_m[i]),
            "receivers_heard": int(self.receivers_heard[i]),
            "mean_snr_db": _rounded(self.mean_snr_db[i]),
        }

    def _suspect_row(self, suspect: Suspect) -> dict[str, Any]:
        judged = {"improbability": round(suspect.improbability, 2), "evidence": list(suspect.evidence)}
        return self._row(suspect.place) | judged


def find_residuals(
    *,
    feature_set: FeatureSet,
    predictions: Mapping[Split, Predictions],
    origin: tuple[float, float],
    trained_on: Sequence[bool | None],
) -> Residuals:
    """The residuals of whole splits, whose predictions are in the order of their sessions.

    Args:
        feature_set: the dataset version; its other sessions are neighbours too.
        predictions: of each split that the model predicted.
        origin: of the local plane, degrees.
        trained_on: for every session of the feature set, as in ``Residuals``.
    """
    places = np.concatenate([feature_set.indices(split) for split in predictions])
    predicted = _joined(list(predictions.values()))
    latitude, longitude = feature_set.positions_deg[places].T
    snr_db = feature_set.snr_db.astype(np.float64)
    heard = ~np.isnan(snr_db[places])
    return Residuals(
        session_ids=tuple(feature_set.session_ids[i] for i in places),
        splits=tuple(feature_set.splits[i] for i in places),
        trained_on=tuple(trained_on[i] for i in places),
        latitude=latitude,
        longitude=longitude,
        predictions=predicted,
        error_m=error_m(predicted, latitude, longitude),
        squared_distance=squared_mahalanobis(predicted, residual_m(predicted, latitude, longitude, origin)),
        neighbours=compare_with_neighbours(snr_db, feature_set.targets_km.astype(np.float64), places),
        receivers_heard=heard.sum(axis=1),
        mean_snr_db=_mean_heard(snr_db[places], heard),
    )


def _joined(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Predictions.__slots__}
    )


def _mean_heard(snr_db: Float, heard: NDArray[np.bool_]) -> Float:
    count = heard.sum(axis=1)
    total = np.where(heard, snr_db, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _evidence(*, model: bool, neighbours: bool) -> tuple[Evidence, ...]:
    found: list[Evidence] = []
    if model:
        found.append("model")
    if neighbours:
        found.append("neighbours")
    return tuple(found)


def _rounded(value: float) -> float | None:
    return round(float(value), 1) if np.isfinite(value) else None


def _lines(rows: Iterator[dict[str, Any]]) -> str:
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    return "\n  " + ",\n  ".join(lines) + "\n " if lines else ""
