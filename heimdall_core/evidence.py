"""What an exported file is made and tried with, out of the dataset that the network was trained on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from heimdall_core.domain.manifest import Manifest, Split
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.domain.spec import ExportOutput
from heimdall_core.evaluation.metrics import Predictions, evaluate
from heimdall_core.evaluation.report import EvaluationReport
from heimdall_core.export.budget import Accuracy, Judge
from heimdall_core.export.metadata import FLOOR_NAME, INPUT_NAME, IQ_NAME, PRESENCE_NAME
from heimdall_core.export.parity import open_session
from heimdall_core.export.precision import NUM_CALIBRATION_SAMPLES
from heimdall_core.export.sessions import run_session
from heimdall_core.export.verification import Evidence
from heimdall_core.features import FeatureSet
from heimdall_core.features.fetching import fetch_session
from heimdall_core.networks import LocalizationNet
from heimdall_core.prediction import NUM_MOMENTS, to_predictions
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.inference import predict, read_mixtures
from heimdall_core.training.inference import to_predictions as in_degrees

Float32 = NDArray[np.float32]
Origin = tuple[float, float]
_NUM_RECORDED_SESSIONS = 8
_BATCH = 32
_CALIBRATION_SEED = 0
HELD_BACK: tuple[Split, ...] = ("val", "test")


def gather_evidence(
    outputs: Sequence[ExportOutput],
    net: LocalizationNet,
    features: FeatureSet,
    manifest: Manifest,
    report: EvaluationReport,
    store: ObjectStore,
    on_batch: Callable[[], None] = lambda: None,
) -> Evidence:
    """What these outputs need and no more: recordings are fetched for the front end alone.

    ``on_batch`` is called before each batch that a file is tried on; what it raises ends the work.

    Raises:
        DataError, NotFound, StorageUnavailable: as ``features.fetching.fetch_session``.
    """
    precisions = {output.precision for output in outputs}
    return Evidence(
        calibration=calibration_features(features) if "int8" in precisions else None,
        judge=_judge(net, features, manifest, report, on_batch) if precisions != {"fp32"} else None,
        iq=recorded_iq(manifest, store) if any(output.include_frontend for output in outputs) else None,
    )


def calibration_features(features: FeatureSet) -> Float32:
    """Segments of the training split, drawn at random and the same every time: (N, R, 128, 32)."""
    first = features.first_segment
    segments = np.concatenate([np.arange(first[i], first[i + 1]) for i in features.indices("train")])
    rng = np.random.default_rng(_CALIBRATION_SEED)
    chosen = rng.choice(segments, min(len(segments), NUM_CALIBRATION_SAMPLES), replace=False)
    return np.asarray(features.inputs[np.sort(chosen)])


def recorded_iq(manifest: Manifest, store: ObjectStore) -> dict[str, Float32]:
    """The first segments of some test sessions, as a graph with the front end takes them."""
    sessions = manifest.of_split("test")[:_NUM_RECORDED_SESSIONS]
    places = {receiver.name: place for place, receiver in enumerate(manifest.receivers)}
    shape = (len(sessions), len(places))
    iq = np.zeros((*shape, 2, manifest.features.segment_samples), np.float32)
    floors, presence = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
    for row, session in enumerate(sessions):
        found = fetch_session(session, store=store, places=places, settings=manifest.features, num_segments=1)
        iq[row, found.receivers] = np.stack([found.samples[:, 0].real, found.samples[:, 0].imag], axis=1)
        floors[row, found.receivers] = found.noise_floor_dbfs
        presence[row, found.receivers] = 1.0
    return {IQ_NAME: iq, FLOOR_NAME: floors, PRESENCE_NAME: presence}


def _judge(
    net: LocalizationNet,
    features: FeatureSet,
    manifest: Manifest,
    report: EvaluationReport,
    on_batch: Callable[[], None],
) -> Judge:
    """The splits that no weight was fitted to; the evaluation measured the network on the test split."""
    origin = (manifest.origin_latitude, manifest.origin_longitude)
    gaussians = predict(net, HeimdallDataset(features, "val", training=False))
    val = _accuracy(in_degrees(gaussians, origin), features, "val", origin)
    mixture_nll = gaussians.mixture_nll_per_m2(_targets_km(features, "val"))
    return Judge(
        reference={
            "val": replace(val, mixture_nll_per_m2=mixture_nll),
            "test": _of_metrics(report.metrics),
        },
        score=lambda path: {split: _score(path, features, split, origin, on_batch) for split in HELD_BACK},
    )


def _score(
    path: Path,
    features: FeatureSet,
    split: Split,
    origin: Origin,
    on_batch: Callable[[], None],
) -> Accuracy:
    session = open_session(path, num_threads=torch.get_num_threads())
    places = features.indices(split)
    counts = [features.num_segments(int(i)) for i in places]
    segments = np.concatenate(
        [np.arange(f, f + n) for f, n in zip(features.first_segment[places], counts, strict=True)]
    )
    parts = []
    for begin in range(0, len(segments), _BATCH):
        on_batch()
        parts.append(run_session(session, {INPUT_NAME: features.inputs[segments[begin : begin + _BATCH]]}))
    outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
    bounds = pairwise(np.cumsum([0, *counts]).tolist())
    predictions = to_predictions([[output[b:e] for output in outputs] for b, e in bounds])
    found = _accuracy(predictions, features, split, origin)
    if len(outputs) <= NUM_MOMENTS:
        return found
    mixtures = read_mixtures(outputs, counts, origin)
    return replace(found, mixture_nll_per_m2=mixtures.mixture_nll_per_m2(_targets_km(features, split)))


def _targets_km(features: FeatureSet, split: Split) -> NDArray[np.float32]:
    return features.targets_km[features.indices(split)]


def _accuracy(predictions: Predictions, features: FeatureSet, split: Split, origin: Origin) -> Accuracy:
    truth = features.positions_deg[features.indices(split)]
    return _of_metrics(evaluate(predictions, truth[:, 0], truth[:, 1], origin))


def _of_metrics(metrics: Mapping[str, float]) -> Accuracy:
    return Accuracy(
        median_error_m=metrics["median_error_m"],
        nll_per_m2=metrics["nll_per_m2"],
        mixture_nll_per_m2=metrics.get("mixture_nll_per_m2"),
    )
