"""``ModelEvaluation``: a registered ONNX model, as it is served, on a split of a dataset version.

It needs no database. The dataset is seen through the model: its receivers in its order, its origin, its
feature settings. A receiver that the model does not know is left out, one that the dataset lacks is absent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.manifest import Manifest, ManifestReceiver, ManifestSession, Split
from heimdall_core.domain.ports import ObjectStore, Reporter
from heimdall_core.evaluation.ablation import remove_receivers
from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.evaluation.report import EvaluationReport, build_report
from heimdall_core.evaluation.residuals import find_residuals
from heimdall_core.export.metadata import INPUT_NAME, ModelFacts, read_facts
from heimdall_core.export.parity import open_session
from heimdall_core.features import FeatureCache, FeatureSet
from heimdall_core.outcomes import describe_report
from heimdall_core.prediction import NUM_MOMENTS, Float32, to_predictions
from heimdall_core.training.assessment import tell_suspects, watch
from heimdall_core.training.inference import read_mixtures
from heimdall_core.training.provenance import describe_dataset, to_plain
from heimdall_core.training.publishing import Publisher
from heimdall_core.training.reporting import JobReporter

_ABLATION_BEGINS = 0.5
_STEP = 50
"""Sessions between two reports of progress."""


class ModelEvaluation:
    """One evaluation job.

    Args:
        onnx_path: the model's file.
        manifest: the dataset version.
        split: which of its sessions.
        trained_on: the dataset version that the model was trained on; None: not known.
        store: where the recordings lie and artifacts go.
        reporter: told of phases, progress, events and artifacts.
        output_uri: the prefix under which this attempt may write.
        workspace: a folder of this attempt's own on the local disk.
        cache_dir: the feature cache, shared by the jobs of a host.
        num_threads: of ONNX Runtime.
    """

    def __init__(
        self,
        *,
        onnx_path: Path,
        manifest: Manifest,
        split: Split,
        trained_on: Manifest | None,
        store: ObjectStore,
        reporter: Reporter,
        output_uri: str,
        workspace: Path,
        cache_dir: Path,
        num_threads: int = 1,
    ) -> None:
        self._session = open_session(onnx_path, num_threads=num_threads)
        self._facts = read_facts(self._session.get_modelmeta().custom_metadata_map)
        self._manifest = manifest
        self._split: Split = split
        self._trained_on = trained_on
        self._store = store
        self._reporter = JobReporter(reporter)
        self._output_uri = output_uri
        self._workspace = workspace
        self._cache_dir = cache_dir

    def run(self) -> dict[str, Any]:
        """Evaluates; returns the job's result in JSON's own types.

        Raises:
            DataError: the split has no session that the model's receivers heard, or a recording is unusable.
            InfrastructureError: the object store did not answer.
            JobStopped: a stop was requested.
        """
        self._reporter.phase(JobPhase.PREPARING)
        seen = seen_by(self._facts, self._manifest)
        left_out = self._tell_differences(seen)
        features = self._features(seen)
        self._reporter.phase(JobPhase.EVALUATING)
        report = self._report(features, seen)
        tell_suspects(report, self._reporter)
        self._publish(report)
        return describe_report(report) | self._about(seen, left_out)

    def _tell_differences(self, seen: Manifest) -> int:
        left_out = len(self._manifest.of_split(self._split)) - len(seen.of_split(self._split))
        if left_out:
            self._reporter.event("sessions_left_out", count=left_out, reason="no receiver that the model has")
        if known := self._num_trained_on(seen):
            self._reporter.event(
                "evaluated_on_training_data",
                count=known,
                message=f"{known} of the sessions were trained or calibrated on: the errors are too small",
            )
        return left_out

    def _num_trained_on(self, seen: Manifest) -> int | None:
        """How many of the evaluated sessions the model had seen; None: not known."""
        if self._trained_on is None:
            return None
        used = {s.id for s in self._trained_on.sessions if s.split != "test"}
        return sum(s.id in used for s in seen.of_split(self._split))

    def _features(self, seen: Manifest) -> FeatureSet:
        features = FeatureCache(self._cache_dir).get(
            seen,
            self._store,
            on_progress=lambda done, total: self._reporter.advance(done / max(1, total)),
            stop=self._reporter.stop_requested,
        )
        self._reporter.event("features_ready", cached=features.was_cached, num_segments=len(features.inputs))
        return features

    def _report(self, features: FeatureSet, seen: Manifest) -> EvaluationReport:
        places = features.indices(self._split)
        outputs = list(self._outputs(features, places))
        predictions = to_predictions(outputs)
        watched = watch(self._reporter, begin=_ABLATION_BEGINS)
        return build_report(
            feature_set=features,
            manifest=seen,
            predictions=predictions,
            split=self._split,
            ablation=remove_receivers(features, places, predictions, self._predict_segments, watched),
            residuals=find_residuals(
                feature_set=features,
                predictions={self._split: predictions},
                origin=(seen.origin_latitude, seen.origin_longitude),
                trained_on=self._which_trained_on(features),
            ),
            mixture_nll_per_m2=self._mixture_nll_per_m2(outputs, features, places),
        )

    def _mixture_nll_per_m2(
        self, outputs: Sequence[Sequence[Float32]], features: FeatureSet, places: NDArray[np.int64]
    ) -> float | None:
        """None: the model predicts no mixtures."""
        if len(outputs[0]) <= NUM_MOMENTS:
            return None
        joined = [np.concatenate(of_all) for of_all in zip(*outputs, strict=True)]
        found = read_mixtures(joined, [len(of_one[0]) for of_one in outputs], self._facts.origin)
        return found.mixture_nll_per_m2(features.targets_km[places])

    def _outputs(self, features: FeatureSet, places: NDArray[np.int64]) -> Iterator[list[Float32]]:
        on_progress = watch(self._reporter, end=_ABLATION_BEGINS)
        for number, index in enumerate(places):
            if number % _STEP == 0:
                on_progress(number / len(places))
            first, end = features.first_segment[index : index + 2]
            yield self._run_model(features.inputs[first:end])

    def _predict_segments(self, inputs: Float32, first: NDArray[np.int64]) -> Predictions:
        outputs = self._run_model(inputs)
        sessions = pairwise(first.tolist())
        return to_predictions([[output[begin:end] for output in outputs] for begin, end in sessions])

    def _run_model(self, inputs: Float32) -> list[Float32]:
        outputs: list[Float32] = self._session.run(None, {INPUT_NAME: np.ascontiguousarray(inputs)})
        return outputs

    def _which_trained_on(self, features: FeatureSet) -> list[bool | None]:
        """Whether the model was fitted to each session; None: not known."""
        if self._trained_on is None:
            return [None] * len(features)
        fitted = {session.id for session in self._trained_on.of_split("train")}
        return [session_id in fitted for session_id in features.session_ids]

    def _publish(self, report: EvaluationReport) -> None:
        self._reporter.phase(JobPhase.REGISTERING)
        values = {f"{self._split}_{k}": v for k, v in report.metrics.items() if np.isfinite(v)}
        self._reporter.metrics(values, step=0, epoch=0)
        publisher = Publisher(self._store, self._output_uri, self._reporter, tracker=None)
        for path in report.write(self._workspace / "report"):
            publisher.upload(path, "plot" if path.suffix == ".png" else "report")
        self._reporter.advance(1.0)

    def _about(self, seen: Manifest, left_out: int) -> dict[str, Any]:
        about: dict[str, Any] = to_plain(
            {
                "split": self._split,
                "dataset": describe_dataset(self._manifest, self._manifest.digest()),
                "model_dataset_digest": self._facts.dataset_digest,
                "sessions_left_out": left_out,
                "sessions_trained_on": self._num_trained_on(seen),
            }
        )
        return about


def seen_by(facts: ModelFacts, manifest: Manifest) -> Manifest:
    """The dataset version with the model's receivers, origin and feature settings.

    A receiver stands where the dataset has it, and where the model has it if the dataset lacks it.

    Raises:
        DataError: the model's receivers heard no session of the dataset.
    """
    theirs = {receiver.name: receiver for receiver in manifest.receivers}
    receivers: tuple[ManifestReceiver, ...] = tuple(theirs.get(r.name, r) for r in facts.receivers)
    names = {receiver.name for receiver in receivers}
    sessions = tuple(s for s in (_heard_by(s, names) for s in manifest.sessions) if s.recordings)
    if not sessions:
        raise DataError(
            "no session of the dataset was heard by a receiver of the model",
            code="no_common_receiver",
            hint=f"The model knows {', '.join(r.name for r in facts.receivers)}.",
        )
    return replace(
        manifest,
        receivers=receivers,
        sessions=sessions,
        origin_latitude=facts.origin[0],
        origin_longitude=facts.origin[1],
        features=facts.features,
    )


def _heard_by(session: ManifestSession, names: set[str]) -> ManifestSession:
    return replace(session, recordings=tuple(r for r in session.recordings if r.receiver in names))
