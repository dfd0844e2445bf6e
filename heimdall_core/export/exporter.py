"""``ONNXExporter``: from a trained network to a verified file in the store, and into MLflow's registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export.front_end import join, write_front_end
from heimdall_core.export.graph import evaluation_copy, write_graph
from heimdall_core.export.metadata import (
    INPUT_NAME,
    ModelFacts,
    metadata_of,
    output_names,
    put_properties,
)
from heimdall_core.export.parity import Parity, interleave, measure_parity, random_features
from heimdall_core.export.precision import halve_backbone, quantise_backbone
from heimdall_core.export.structure import check_opset, load_checked
from heimdall_core.export.templates import GraphTemplates
from heimdall_core.export.verification import (
    Evidence,
    Verification,
    require_calibration,
    require_evidence,
    verify,
)
from heimdall_core.networks import LocalizationNet
from heimdall_core.tracking import TrackingTarget
from heimdall_core.tracking.client import make_client, translated
from heimdall_core.tracking.models import (
    REGISTRATION_LIMIT_SECONDS,
    alias_of,
    register_version,
    set_stage,
)

DEFAULT_OPSET = 18
_DEFAULT_OUTPUT = ExportOutput(opset=DEFAULT_OPSET)
_NO_EVIDENCE = Evidence()
_NUM_RANDOM_SAMPLES = 16
ONNX_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """A verified file and where it lies."""

    path: Path
    object: StoredObject
    output: ExportOutput
    verification: Verification


class ONNXExporter:
    """Exports, verifies, describes, uploads and registers.

    Args:
        store: where files are uploaded to.
        tracking: where models are registered.
        templates_dir: keeps verified graphs without their weights, for the next network of the kind.
    """

    def __init__(
        self,
        store: ObjectStore | None = None,
        tracking: TrackingTarget | None = None,
        templates_dir: Path | None = None,
    ) -> None:
        self._store = store
        self._tracking = tracking
        self._templates = GraphTemplates(templates_dir)

    def export_to_onnx(
        self,
        model: LocalizationNet,
        output_path: Path,
        opset_version: int = DEFAULT_OPSET,
        do_constant_folding: bool = True,
    ) -> Path:
        """Writes the graph of the network's evaluation mode, with a free batch size; the mode stays."""
        output_path.parent.mkdir(parents=True, exist_ok=True)
        net = evaluation_copy(model)
        write_graph(net, output_path, opset=opset_version, constant_folding=do_constant_folding)
        return output_path

    def validate_onnx_model(self, onnx_path: Path, *, opset_version: int | None = None) -> None:
        """Runs onnx's full check: structure, types and shapes.

        Raises:
            ExportError: the file is no valid model, or of another opset than asked for.
        """
        model = load_checked(onnx_path)
        if opset_version is not None:
            check_opset(model, opset_version)

    def test_onnx_inference(
        self, model: LocalizationNet, onnx_path: Path, features: NDArray[np.float32]
    ) -> Parity:
        """Compares ONNX Runtime with PyTorch on ``features`` (N, R, 128, 32) and on random ones.

        Raises:
            ExportError: they differ.
        """
        noise = random_features(features, _NUM_RANDOM_SAMPLES)
        samples = interleave({INPUT_NAME: features}, {INPUT_NAME: noise})[INPUT_NAME]
        return measure_parity(evaluation_copy(model), onnx_path, samples)

    def get_model_metadata(self, onnx_path: Path) -> dict[str, Any]:
        """What the file says about itself."""
        model = onnx.load(onnx_path, load_external_data=False)
        return metadata_of({p.key: p.value for p in model.metadata_props})

    def upload_to_minio(self, onnx_path: Path, bucket_name: str, object_name: str) -> StoredObject:
        """Uploads to ``s3://bucket_name/object_name``.

        Raises:
            StorageUnavailable: the store did not answer, or refused.
        """
        assert self._store is not None, "an exporter that uploads needs a store"
        return self._store.put_file(
            f"s3://{bucket_name}/{object_name}", onnx_path, media_type=ONNX_MEDIA_TYPE
        )

    def register_with_mlflow(
        self,
        model_name: str,
        s3_uri: str,
        metadata: Mapping[str, Any],
        stage: str | None = None,
        *,
        limit_seconds: float = REGISTRATION_LIMIT_SECONDS,
    ) -> str:
        """Registers a version in MLflow and returns its number; ``stage`` becomes an alias and a tag.

        What lies at ``s3_uri``, registered again, is the same version.

        Raises:
            TrackingUnavailable: MLflow did not answer, or refused; ``registration_timeout``: not in time.
            ValueError: there is no such stage; nothing was registered.
        """
        assert self._tracking is not None, "an exporter that registers needs a tracking target"
        if stage is not None:
            alias_of(stage)
        client = make_client(self._tracking)
        version = register_version(
            client,
            self._tracking,
            model_name,
            source=s3_uri,
            run_id=metadata.get("mlflow_run_id"),
            tags={key: str(value) for key, value in metadata.items()},
            limit_seconds=limit_seconds,
        )
        if stage is not None:
            with translated(self._tracking):
                set_stage(client, model_name, version, stage)
        return version

    def export_verified(
        self,
        model: LocalizationNet,
        output_path: Path,
        *,
        facts: ModelFacts,
        features: NDArray[np.float32],
        output: ExportOutput = _DEFAULT_OUTPUT,
        evidence: Evidence = _NO_EVIDENCE,
    ) -> Verification:
        """Exports, describes and verifies; on any failure no file is left.

        Raises:
            ExportError: the file is invalid, disagrees with the network, or is worse than its budget allows.
        """
        require_evidence(output, features, evidence)
        part = output_path.with_name(f".{output_path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        net = evaluation_copy(model)
        traced = halve_backbone(evaluation_copy(model)) if output.precision == "fp16" else net

        def attempt(graph: onnx.ModelProto) -> Verification:
            self._write(graph, net, part, facts, evidence, output)
            return verify(net, part, output=output, facts=facts, features=features, evidence=evidence)

        try:
            verification = self._from_template(traced, output, attempt)
            if verification is None:
                write_graph(traced, part, opset=output.opset, constant_folding=output.constant_folding)
                graph = onnx.load(part)
                verification = attempt(graph)
                self._templates.keep(traced, output, graph)
            part.replace(output_path)
        finally:
            part.unlink(missing_ok=True)
        return verification

    def _from_template(
        self,
        net: LocalizationNet,
        output: ExportOutput,
        attempt: Callable[[onnx.ModelProto], Verification],
    ) -> Verification | None:
        """What ``attempt`` makes of a template that fits; None: the network must be traced."""
        graph = self._templates.fill(net, output)
        if graph is None:
            return None
        try:
            return attempt(graph)
        except Exception:  # noqa: BLE001 - of a damaged template anything may come; the network decides
            self._templates.drop(net, output)
            return None

    def _write(
        self,
        graph: onnx.ModelProto,
        net: LocalizationNet,
        path: Path,
        facts: ModelFacts,
        evidence: Evidence,
        output: ExportOutput,
    ) -> None:
        """Writes what becomes of the network's graph, with its properties."""
        if output.precision == "int8":
            graph = quantise_backbone(graph, require_calibration(evidence))
        if output.include_frontend:
            write_front_end(path, facts.features, facts.receivers, facts.origin, opset=output.opset)
            graph = join(onnx.load(path), graph)
        properties = facts.to_properties(
            output_names(net), precision=output.precision, takes_iq=output.include_frontend
        )
        put_properties(graph, properties)
        onnx.save(graph, path)


def export_and_register_model(
    exporter: ONNXExporter,
    model: LocalizationNet,
    output_path: Path,
    *,
    facts: ModelFacts,
    features: NDArray[np.float32],
    bucket_name: str,
    object_name: str,
    output: ExportOutput = _DEFAULT_OUTPUT,
    evidence: Evidence = _NO_EVIDENCE,
    register_as: str | None = None,
    stage: str | None = None,
) -> ExportedModel:
    """Exports, verifies and uploads; with ``register_as`` also makes a version in MLflow's registry.

    Raises:
        ExportError: the file is invalid or disagrees with the network; nothing was uploaded.
        InfrastructureError: the store or MLflow did not answer.
        ValueError: there is no such stage; nothing was exported.
    """
    if stage is not None:
        alias_of(stage)
    verification = exporter.export_verified(
        model, output_path, facts=facts, features=features, output=output, evidence=evidence
    )
    stored = exporter.upload_to_minio(output_path, bucket_name, object_name)
    if register_as is not None:
        metadata = {**exporter.get_model_metadata(output_path), "sha256": stored.sha256}
        exporter.register_with_mlflow(register_as, stored.uri, metadata, stage)
    return ExportedModel(path=output_path, object=stored, output=output, verification=verification)
