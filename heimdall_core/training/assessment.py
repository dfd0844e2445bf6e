"""A trained network judged: calibrated on the validation split, evaluated on the test split."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from heimdall_core.domain.manifest import Manifest, Split
from heimdall_core.domain.ports import JobStopped
from heimdall_core.evaluation.ablation import Ablation, SegmentPredictor, remove_receivers
from heimdall_core.evaluation.calibration import CalibrationSummary, summarize_calibration
from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.evaluation.report import EvaluationReport, build_report
from heimdall_core.evaluation.residuals import Residuals, find_residuals
from heimdall_core.features import FeatureSet
from heimdall_core.networks import LocalizationNet
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.fusion import fit_fusion
from heimdall_core.training.inference import (
    PlaneGaussians,
    average_segments,
    fit_calibration,
    predict,
    to_predictions,
)
from heimdall_core.training.radio_map import RadioGrid
from heimdall_core.training.reporting import JobReporter

_ABLATION_BEGINS = 0.6


def assess(
    net: LocalizationNet,
    features: FeatureSet,
    manifest: Manifest,
    reporter: JobReporter,
    *,
    grid: RadioGrid | None = None,
) -> EvaluationReport:
    """Calibrates the network and reports on the test split; the network keeps its calibration.

    With ``grid``, the radio map of the training split, it is fused with it first, and stays so if it gains.

    Raises:
        DataError: a split is empty.
        JobStopped: a stop was requested.
    """
    origin = (manifest.origin_latitude, manifest.origin_longitude)
    test_places = features.indices("test")
    if grid is not None:
        _fuse(net, features, grid, reporter)
    calibration, found = _calibrate(net, features, reporter)
    predictions = {split: to_predictions(gaussians, origin) for split, gaussians in found.items()}
    report = build_report(
        feature_set=features,
        manifest=manifest,
        predictions=predictions["test"],
        split="test",
        calibration=calibration,
        ablation=_ablate(net, features, test_places, predictions["test"], origin, reporter),
        residuals=_residuals(features, predictions, origin),
        mixture_nll_per_m2=found["test"].mixture_nll_per_m2(features.targets_km[test_places]),
    )
    tell_suspects(report, reporter)
    return report


def watch(reporter: JobReporter, *, begin: float = 0.0, end: float = 1.0) -> Callable[[float], None]:
    """Tells how much is done between two fractions of the phase; raises JobStopped if asked to stop."""

    def advance(fraction: float) -> None:
        if (request := reporter.stop_requested()) is not None:
            raise JobStopped(request)
        reporter.advance(begin + (end - begin) * fraction)

    return advance


def tell_suspects(report: EvaluationReport, reporter: JobReporter) -> None:
    """Leaves a line in the job's history if labels are improbable."""
    num_suspects = 0 if report.residuals is None else len(report.residuals.suspects())
    if num_suspects:
        reporter.event("labels_suspected", count=num_suspects, file="residuals.json")


def _fuse(net: LocalizationNet, features: FeatureSet, grid: RadioGrid, reporter: JobReporter) -> None:
    val_set = HeimdallDataset(features, "val", training=False)
    exponent = fit_fusion(net, grid, val_set, watch(reporter, end=0.0))
    reporter.event("radio_map_fused", exponent=exponent, num_cells=len(grid.cells_km))


def _calibrate(
    net: LocalizationNet, features: FeatureSet, reporter: JobReporter
) -> tuple[CalibrationSummary, dict[Split, PlaneGaussians]]:
    """The calibration, and the calibrated predictions of every split."""
    on_progress = watch(reporter, end=_ABLATION_BEGINS / 3)
    net.set_calibration(1.0)
    val_set = HeimdallDataset(features, "val", training=False)
    val = predict(net, val_set, on_progress)
    scale = fit_calibration(val, val_set.targets_km)
    net.set_calibration(scale)
    test_set = HeimdallDataset(features, "test", training=False)
    test = predict(net, test_set, watch(reporter, begin=_ABLATION_BEGINS / 3, end=_ABLATION_BEGINS / 2))
    train_set = HeimdallDataset(features, "train", training=False)
    train = predict(net, train_set, watch(reporter, begin=_ABLATION_BEGINS / 2, end=_ABLATION_BEGINS))
    distances: dict[Split, NDArray[np.float64]] = {
        "val": val.squared_distances(val_set.targets_km),
        "test": test.squared_distances(test_set.targets_km) * scale**2,
    }
    return summarize_calibration(scale, distances), {"train": train, "val": val.spread(scale), "test": test}


def _ablate(
    net: LocalizationNet,
    features: FeatureSet,
    places: NDArray[np.int64],
    predictions: Predictions,
    origin: tuple[float, float],
    reporter: JobReporter,
) -> Ablation:
    on_progress = watch(reporter, begin=_ABLATION_BEGINS)
    return remove_receivers(features, places, predictions, _segment_predictor(net, origin), on_progress)


@torch.no_grad()
def _predict_segments(
    net: LocalizationNet, inputs: NDArray[np.float32], first: NDArray[np.int64]
) -> PlaneGaussians:
    device = next(net.parameters()).device
    item = torch.from_numpy(np.repeat(np.arange(len(first) - 1), np.diff(first)))
    return average_segments(net.plane(torch.from_numpy(inputs).to(device)), item.to(device), len(first) - 1)


def _segment_predictor(net: LocalizationNet, origin: tuple[float, float]) -> SegmentPredictor:
    return lambda inputs, first: to_predictions(_predict_segments(net, inputs, first), origin)


def _residuals(
    features: FeatureSet, predictions: dict[Split, Predictions], origin: tuple[float, float]
) -> Residuals:
    return find_residuals(
        feature_set=features,
        predictions=predictions,
        origin=origin,
        trained_on=[split == "train" for split in features.splits],
    )
