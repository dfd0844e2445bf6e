"""What a training, an export or an evaluation hands back, in JSON's own types."""

from collections.abc import Mapping
from typing import Any

from heimdall_core.domain.manifest import Manifest
from heimdall_core.evaluation.report import EvaluationReport
from heimdall_core.export.exporter import ExportedModel
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.training.callbacks import BestWeights
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.provenance import describe_dataset, to_plain
from heimdall_core.training.publishing import describe_object


def describe_report(report: EvaluationReport) -> dict[str, Any]:
    """Metrics of the model and of the baselines on the same split."""
    result: dict[str, Any] = to_plain(
        {
            "metrics": report.metrics,
            "baselines": report.baselines,
            "coverage": {k: v for k, v in report.metrics.items() if k.startswith("coverage_")},
            "report": report.to_dict(),
        }
    )
    return result


def describe_training(
    *,
    module: LocalizationLightningModule,
    best: BestWeights,
    manifest: Manifest,
    dataset_digest: str,
    report: EvaluationReport,
    onnx: ExportedModel | None,
) -> dict[str, Any]:
    """The result of a training, or of the export of its weights."""
    facts: dict[str, Any] = to_plain(
        {
            "calibration_scale": float(module.net.calibration_scale),
            "val_loss": best.val_loss,
            "best_epoch": best.epoch,
            "num_parameters": sum(p.numel() for p in module.net.parameters()),
            "plane_scale_km": module.construction.plane_scale_km,
            "dataset_digest": dataset_digest,
            "dataset": describe_dataset(manifest, dataset_digest),
            "onnx": None if onnx is None else describe_object(onnx.object),
            "onnx_parity": None if onnx is None else onnx.parity.to_dict(),
        }
    )
    return describe_report(report) | facts


def model_facts(
    *,
    name: str,
    run_name: str,
    tags: Mapping[str, str],
    module: LocalizationLightningModule,
    manifest: Manifest,
    dataset_digest: str,
    report: EvaluationReport,
) -> ModelFacts:
    """What the exported file says about itself."""
    return ModelFacts(
        name=name,
        run_name=run_name,
        receivers=manifest.receivers,
        origin=(manifest.origin_latitude, manifest.origin_longitude),
        plane_scale_km=module.construction.plane_scale_km,
        features=manifest.features,
        dataset=f"{manifest.name}:{manifest.version}",
        dataset_digest=dataset_digest,
        backbone=module.construction.backbone,
        covariance=module.construction.covariance,
        calibration_scale=float(module.net.calibration_scale),
        metrics=to_plain(report.metrics),
        tags=tags,
    )
