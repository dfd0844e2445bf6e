"""The evaluation report: metrics, baselines on the same split, breakdowns and pictures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest, Split
from heimdall_core.evaluation.ablation import Ablation, ReceiverRemoved, by_receiver_removed
from heimdall_core.evaluation.baselines import LevelData, predict_baselines
from heimdall_core.evaluation.breakdowns import Group, Truth, by_receivers_heard, by_snr
from heimdall_core.evaluation.calibration import CalibrationSummary
from heimdall_core.evaluation.map_plot import draw_map
from heimdall_core.evaluation.metrics import Float, Predictions, error_m, residual_m, squared_mahalanobis
from heimdall_core.evaluation.plots import draw_calibration, draw_error_cdf
from heimdall_core.evaluation.receivers_plot import draw_receivers
from heimdall_core.evaluation.residuals import Residuals
from heimdall_core.evaluation.session_table import SessionTable
from heimdall_core.features.feature_set import FeatureSet
from heimdall_core.recordings.geodesy import to_plane_km

REPORT_SCHEMA: Final = 1
_MODEL: Final = "model"
_SUSPECTS_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationReport:
    """Metrics of one split, and what its pictures are drawn from."""

    split: Split
    metrics: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    """By name: ``train_mean``, ``weighted_centroid``, ``knn``, ``log_distance_grid``."""
    receivers_heard: tuple[Group, ...]
    snr: tuple[Group, ...]
    num_sessions: int
    predictions: Predictions
    truth: Truth
    errors_m: Mapping[str, Float]
    """By name, the model's first: (N,) metres."""
    receivers_km: Float
    receiver_names: tuple[str, ...]
    session_ids: tuple[str, ...]
    sources: tuple[str | None, ...]
    """The transmitters' names; None: the manifest does not know the session."""
    receivers_removed: tuple[ReceiverRemoved, ...] = ()
    """What each receiver contributes; empty: there is only one, or it was not asked."""
    calibration: CalibrationSummary | None = None
    """None: the model was evaluated as it is."""
    residuals: Residuals | None = None
    """Of every session that the model predicted."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": REPORT_SCHEMA,
            "split": self.split,
            "num_sessions": self.num_sessions,
            "metrics": dict(self.metrics),
            "baselines": {name: dict(metrics) for name, metrics in self.baselines.items()},
            "by_receivers_heard": [group.to_dict() for group in self.receivers_heard],
            "by_snr_db": [group.to_dict() for group in self.snr],
            "by_receiver_removed": [removed.to_dict() for removed in self.receivers_removed],
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "suspects": None if self.residuals is None else _suspects(self.residuals),
        }

    def write(self, folder: Path) -> list[Path]:
        """Writes report.json, sessions.json, residuals.json and the pictures; returns their paths.

        The pictures are map.png, error_cdf.png, calibration.png and, after an ablation, receivers.png.
        """
        folder.mkdir(parents=True, exist_ok=True)
        report = folder / "report.json"
        report.write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")
        paths = [report, self._write_map(folder), self._write_cdf(folder), self._write_calibration(folder)]
        paths.append(self._session_table().write(folder / "sessions.json"))
        if any(removed.change for removed in self.receivers_removed):
            paths.append(self._write_receivers(folder))
        if self.residuals is not None:
            paths.append(self.residuals.write(folder / "residuals.json"))
        return paths

    def _session_table(self) -> SessionTable:
        return SessionTable(
            split=self.split,
            session_ids=self.session_ids,
            sources=self.sources,
            trained_on=self._trained_on(),
            predictions=self.predictions,
            truth=self.truth,
            errors_m=self.errors_m,
            receiver_names=self.receiver_names,
            receivers_km=self.receivers_km,
        )

    def _trained_on(self) -> tuple[bool | None, ...]:
        if self.residuals is None:
            return (None,) * len(self.session_ids)
        known = dict(zip(self.residuals.session_ids, self.residuals.trained_on, strict=True))
        return tuple(known.get(session_id) for session_id in self.session_ids)

    def _write_map(self, folder: Path) -> Path:
        origin = self.truth.origin
        true_km = np.stack(to_plane_km(self.truth.latitude, self.truth.longitude, origin=origin), axis=1)
        return draw_map(
            folder / "map.png",
            predictions=self.predictions,
            true_km=true_km,
            receivers_km=self.receivers_km,
            receiver_names=self.receiver_names,
            origin=origin,
        )

    def _write_cdf(self, folder: Path) -> Path:
        return draw_error_cdf(folder / "error_cdf.png", self.errors_m)

    def _write_calibration(self, folder: Path) -> Path:
        truth = self.truth
        residual = residual_m(self.predictions, truth.latitude, truth.longitude, truth.origin)
        distance = squared_mahalanobis(self.predictions, residual)
        return draw_calibration(folder / "calibration.png", distance, ence=self.metrics["ence"])

    def _write_receivers(self, folder: Path) -> Path:
        median_error_m = self.metrics["median_error_m"]
        return draw_receivers(folder / "receivers.png", self.receivers_removed, median_error_m=median_error_m)


def build_report(
    *,
    feature_set: FeatureSet,
    manifest: Manifest,
    predictions: Predictions,
    split: Split = "test",
    ablation: Ablation | None = None,
    calibration: CalibrationSummary | None = None,
    residuals: Residuals | None = None,
    mixture_nll_per_m2: float | None = None,
) -> EvaluationReport:
    """Compares the predictions of a split, in the order of its sessions, with the truth and the baselines.

    ``mixture_nll_per_m2`` joins the metrics: the mean negative log-likelihood under the mixtures that a
    network predicts, whose means and covariances ``predictions`` hold.

    Baselines are fitted on the train split; their constant covariances come from the val split, or from the
    train split where there is no val split.

    Raises:
        DataError: the split or the train split has no sessions.
        ValueError: the number of predictions is not that of the split's sessions.
    """
    test = _filled(feature_set, split)
    train = _filled(feature_set, "train")
    val = feature_set.indices("val")
    origin = (manifest.origin_latitude, manifest.origin_longitude)
    receivers_km = _receivers_km(manifest, origin)
    truth = _truth(feature_set, test, origin)
    estimates = {_MODEL: predictions} | predict_baselines(
        LevelData.of(feature_set, receivers_km, origin),
        train=train,
        calibration=val if len(val) else train,
        test=test,
    )
    everyone = np.arange(len(test))
    names = tuple(receiver.name for receiver in manifest.receivers)
    source_of = {session.id: session.source for session in manifest.sessions}
    session_ids = tuple(feature_set.session_ids[place] for place in test)
    removed = () if ablation is None else by_receiver_removed(ablation, names, predictions, truth)
    errors = {name: error_m(p, truth.latitude, truth.longitude) for name, p in estimates.items()}
    metrics = {name: truth.evaluate(p, everyone) for name, p in estimates.items()}
    if mixture_nll_per_m2 is not None:
        metrics[_MODEL] |= {"mixture_nll_per_m2": mixture_nll_per_m2}
    return EvaluationReport(
        split=split,
        metrics=metrics.pop(_MODEL),
        baselines=metrics,
        receivers_heard=tuple(by_receivers_heard(predictions, truth)),
        snr=tuple(by_snr(predictions, truth)),
        num_sessions=len(test),
        predictions=predictions,
        truth=truth,
        errors_m=errors,
        receivers_km=receivers_km,
        receiver_names=names,
        session_ids=session_ids,
        sources=tuple(source_of.get(session_id) for session_id in session_ids),
        receivers_removed=tuple(removed),
        calibration=calibration,
        residuals=residuals,
    )


def _suspects(residuals: Residuals) -> dict[str, Any]:
    """How many labels are improbable, and the least probable ones; residuals.json has them all."""
    suspects = residuals.suspects()
    return {
        "count": len(suspects),
        "session_ids": [residuals.session_ids[suspect.place] for suspect in suspects[:_SUSPECTS_NAMED]],
    }


def _filled(feature_set: FeatureSet, split: Split) -> NDArray[np.int64]:
    indices = feature_set.indices(split)
    if len(indices) == 0:
        raise DataError(f"the {split} split has no sessions", code="empty_split")
    return indices


def _receivers_km(manifest: Manifest, origin: tuple[float, float]) -> Float:
    latitudes = [r.latitude for r in manifest.receivers]
    longitudes = [r.longitude for r in manifest.receivers]
    return np.stack(to_plane_km(latitudes, longitudes, origin=origin), axis=1)


def _truth(feature_set: FeatureSet, test: NDArray[np.int64], origin: tuple[float, float]) -> Truth:
    return Truth(
        latitude=feature_set.positions_deg[test, 0],
        longitude=feature_set.positions_deg[test, 1],
        snr_db=feature_set.snr_db[test].astype(np.float64),
        origin=origin,
    )
