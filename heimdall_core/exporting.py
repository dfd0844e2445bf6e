"""The files of a finished training: exported, verified, uploaded, and told to the job's reporter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.domain.spec import ExportOutput, TrainJobSpec
from heimdall_core.evaluation.report import EvaluationReport
from heimdall_core.evidence import gather_evidence
from heimdall_core.export.exporter import ExportedModel, ONNXExporter
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.verification import Verification
from heimdall_core.features import FeatureSet
from heimdall_core.outcomes import model_facts
from heimdall_core.storage import join_uri, split_uri
from heimdall_core.tracking import MLflowTracker, TrackingTarget
from heimdall_core.training.assessment import watch
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import map_of, save_weights
from heimdall_core.training.provenance import describe_weights, to_plain
from heimdall_core.training.publishing import Publisher
from heimdall_core.training.reporting import JobReporter

_NUM_PARITY_SAMPLES = 24
FIRST_FILE = "model.onnx"
"""The first output: what is registered, served and evaluated."""
VerifiedFile = tuple[ExportOutput, Path, Verification]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Where the files of one training go, and who is told.

    Args:
        spec: the accepted specification.
        manifest: the frozen dataset version, ``digest`` that of its content.
        store: where recordings lie and artifacts go.
        output_uri: the prefix under which this attempt may write.
        workspace: a folder of this attempt's own on the local disk.
        reporter: told of progress and artifacts.
        publisher: uploads under the same prefix, and remembers what.
        tracking: where exported models may be registered.
        run_name: of the run, in the model's metadata.
        tags: of the model.
        templates_dir: see ``ONNXExporter``.
    """

    spec: TrainJobSpec
    manifest: Manifest
    digest: str
    store: ObjectStore
    output_uri: str
    workspace: Path
    reporter: JobReporter
    publisher: Publisher
    tracking: TrackingTarget | None
    run_name: str
    tags: Mapping[str, str]
    templates_dir: Path | None = None

    def export(
        self,
        module: LocalizationLightningModule,
        features: FeatureSet,
        report: EvaluationReport,
    ) -> list[ExportedModel]:
        """Exports and verifies every output, then uploads them; the checksum of each lies beside it.

        Raises:
            ExportError: an output failed its verification; none was uploaded, and no file is left.
            InfrastructureError: the store did not answer.
            JobStopped: a stop was requested.
        """
        if not self.spec.export.enabled:
            return []
        exporter = ONNXExporter(self.store, self.tracking, self.templates_dir)
        verified = self._verify(exporter, module, features, report)
        return [self._upload(exporter, *one) for one in verified]

    def _verify(
        self,
        exporter: ONNXExporter,
        module: LocalizationLightningModule,
        features: FeatureSet,
        report: EvaluationReport,
    ) -> list[VerifiedFile]:
        outputs, on_progress = self.spec.export.outputs, watch(self.reporter)
        paths = [self.workspace / name for name in file_names(outputs)]
        facts, samples = self._facts(module, report), _test_samples(features)
        try:
            evidence = gather_evidence(
                outputs, module.net, features, self.manifest, report, self.store, lambda: on_progress(0.0)
            )
            verified = []
            for number, (output, path) in enumerate(zip(outputs, paths, strict=True), start=1):
                verification = exporter.export_verified(
                    module.net, path, facts=facts, features=samples, output=output, evidence=evidence
                )
                verified.append((output, path, verification))
                on_progress(number / len(outputs))
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise
        return verified

    def _upload(
        self,
        exporter: ONNXExporter,
        output: ExportOutput,
        path: Path,
        verification: Verification,
    ) -> ExportedModel:
        stored = exporter.upload_to_minio(path, *split_uri(join_uri(self.output_uri, path.name)))
        about = {
            "opset": output.opset,
            "precision": output.precision,
            "include_frontend": output.include_frontend,
            "parity": verification.parity.to_dict(),
            "verification": verification.to_dict(),
        }
        self.publisher.announce(path.name, "onnx", stored, about)
        checksum = path.with_name(f"{path.name}.sha256")
        checksum.write_text(f"{stored.sha256}  {path.name}\n")
        self.publisher.upload(checksum, "onnx")
        return ExportedModel(path=path, object=stored, output=output, verification=verification)

    def _facts(self, module: LocalizationLightningModule, report: EvaluationReport) -> ModelFacts:
        return model_facts(
            name=self.spec.model.name,
            run_name=self.run_name,
            tags=self.tags,
            module=module,
            manifest=self.manifest,
            dataset_digest=self.digest,
            report=report,
        )

    def publish_files(
        self,
        module: LocalizationLightningModule,
        report: EvaluationReport,
        *,
        epoch: int,
        provenance: Mapping[str, Any],
    ) -> None:
        """Uploads the best weights, the evaluation and, last, the manifest that lists everything.

        Raises:
            StorageUnavailable: the store did not answer, or refused.
        """
        best = self.workspace / "best.ckpt"
        save_weights(
            best,
            module.net,
            module.construction,
            dataset_digest=self.digest,
            epoch=epoch,
            fused_with=map_of(self.spec.training) if module.net.fusion is not None else None,
        )
        self.publisher.upload(best, "checkpoint")
        for path in report.write(self.workspace / "report"):
            self.publisher.upload(path, "plot" if path.suffix == ".png" else "report", track=True)
        manifest = self.workspace / "manifest.json"
        outcome = {"weights": describe_weights(module.net.state_dict()), "metrics": report.metrics}
        content = to_plain({**provenance, **outcome, "artifacts": self.publisher.describe()})
        manifest.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False))
        self.publisher.upload(manifest, "manifest", track=True)


def _test_samples(features: FeatureSet) -> NDArray[np.float32]:
    test = features.indices("test")[:_NUM_PARITY_SAMPLES]
    return np.asarray(features.inputs[features.first_segment[test]])


def file_names(outputs: Sequence[ExportOutput]) -> list[str]:
    """The first is ``model.onnx``; the others are named after what they are, and counted if alike."""
    names: list[str] = []
    for output in outputs:
        stem = f"model-{output.precision}{'-iq' if output.include_frontend else ''}"
        wanted = [f"{stem}.onnx", *(f"{stem}-{number}.onnx" for number in range(2, len(outputs) + 1))]
        names.append(next(name for name in wanted if name not in names) if names else FIRST_FILE)
    return names


def tell_test_metrics(
    report: EvaluationReport, reporter: JobReporter, tracker: MLflowTracker | None, *, epoch: int
) -> None:
    """The metrics of the test split as points of the job's curves, and MLflow's."""
    values = {f"test_{name}": value for name, value in report.metrics.items() if np.isfinite(value)}
    reporter.metrics(values, step=0, epoch=epoch)
    if tracker is not None:
        tracker.log_metrics(values, step=0)
