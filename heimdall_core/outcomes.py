"""What a training, an export or an evaluation hands back, in JSON's own types."""

from collections.abc import Mapping, Sequence
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
    models: Sequence[ExportedModel],
) -> dict[str, Any]:
    """The result of a training, or of the export of its weights; the first of ``models`` is the model."""
    first = models[0] if models else None
    facts: dict[str, Any] = to_plain(
        {
            "calibration_scale": float(module.net.calibration_scale),
            "val_loss": best.val_loss,
            "best_epoch": best.epoch,
            "num_parameters": sum(p.numel() for p in module.net.parameters()),
            "plane_scale_km": module.construction.plane_scale_km,
            "receivers": [receiver.name for receiver in manifest.receivers],
            "backbone": module.construction.backbone,
            "covariance": module.construction.covariance,
            "components": module.construction.components,
            "point_estimate": module.construction.point_estimate,
            "fusion_exponent": 0.0 if module.net.fusion is None else module.net.fusion.exponent,
            "dataset_digest": dataset_digest,
            "dataset": describe_dataset(manifest, dataset_digest),
            "onnx": None if first is None else describe_object(first.object),
            "onnx_parity": None if first is None else first.verification.parity.to_dict(),
            "verification": None if first is None else first.verification.to_dict(),
            "exports": [describe_export(model) for model in models],
        }
    )
    return describe_report(report) | facts


def describe_export(model: ExportedModel) -> dict[str, Any]:
    """One exported file: what it is, where it lies, and what its verification measured."""
    return {
        "name": model.path.name,
        "precision": model.output.precision,
        "opset": model.output.opset,
        "include_frontend": model.output.include_frontend,
        **describe_object(model.object),
        "verification": model.verification.to_dict(),
    }


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
        components=module.construction.components,
        point_estimate=module.construction.point_estimate,
        calibration_scale=float(module.net.calibration_scale),
        metrics=to_plain(report.metrics),
        tags=tags,
    )
