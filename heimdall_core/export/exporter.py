"""``ONNXExporter``: from a trained network to a verified file in the store, and into MLflow's registry."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.export.graph import evaluation_copy, write_graph
from heimdall_core.export.metadata import ModelFacts, metadata_of, output_names, write_properties
from heimdall_core.export.parity import ExportError, Parity, measure_parity, random_samples
from heimdall_core.networks import LocalizationNet
from heimdall_core.tracking import TrackingTarget, initialize_mlflow

DEFAULT_OPSET = 18
_NUM_RANDOM_SAMPLES = 16
ONNX_MEDIA_TYPE = "application/octet-stream"
#: MLflow has aliases where it used to have stages.
_ALIASES = {"production": "champion", "staging": "challenger"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """A verified file and where it lies."""

    path: Path
    object: StoredObject
    parity: Parity
    opset: int


class ONNXExporter:
    """Exports, verifies, describes, uploads and registers."""

    def __init__(self, store: ObjectStore | None = None, tracking: TrackingTarget | None = None) -> None:
        self._store = store
        self._tracking = tracking

    def export_to_onnx(
        self,
        model: LocalizationNet,
        output_path: Path,
        opset_version: int = DEFAULT_OPSET,
        do_constant_folding: bool = True,
    ) -> Path:
        """Writes the graph of the network's evaluation mode, with a free batch size; the mode stays."""
        output_path.parent.mkdir(parents=True, exist_ok=True)
        write_graph(model, output_path, opset=opset_version, constant_folding=do_constant_folding)
        return output_path

    def validate_onnx_model(self, onnx_path: Path, *, opset_version: int | None = None) -> None:
        """Runs onnx's full check: structure, types and shapes.

        Raises:
            ExportError: the file is no valid model, or of another opset than asked for.
        """
        try:
            onnx.checker.check_model(str(onnx_path), full_check=True)
            model = onnx.load(onnx_path)
        except Exception as error:  # onnx raises its own errors and protobuf's
            raise ExportError(
                f"{onnx_path.name} is not a valid ONNX model: {error}", code="export_invalid"
            ) from error
        found = {o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}}
        if opset_version is not None and found != {opset_version}:
            raise ExportError(
                f"the exporter wrote opset {sorted(found)} instead of {opset_version}", code="export_opset"
            )

    def test_onnx_inference(
        self, model: LocalizationNet, onnx_path: Path, features: NDArray[np.float32]
    ) -> Parity:
        """Compares ONNX Runtime with PyTorch on ``features`` (N, R, 128, 32) and on random ones.

        Raises:
            ExportError: they differ.
        """
        return measure_parity(
            evaluation_copy(model), onnx_path, random_samples(features, _NUM_RANDOM_SAMPLES)
        )

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
        self, model_name: str, s3_uri: str, metadata: Mapping[str, Any], stage: str | None = None
    ) -> str:
        """Registers a version in MLflow and returns its number; ``stage`` becomes an alias.

        Raises:
            TrackingUnavailable: MLflow did not answer, or refused.
        """
        assert self._tracking is not None, "an exporter that registers needs a tracking target"
        client, _ = initialize_mlflow(self._tracking.uri, self._tracking.experiment)
        tags = {key: str(value)[:5000] for key, value in metadata.items()}
        try:
            _ensure_registered_model(client, model_name)
            run_id = metadata.get("mlflow_run_id")
            found = client.create_model_version(model_name, source=s3_uri, run_id=run_id, tags=tags)
            if stage:
                alias = _ALIASES.get(stage.lower(), stage.lower())
                client.set_registered_model_alias(model_name, alias, found.version)
        except Exception as error:  # MLflow raises its own, requests' and SQLAlchemy's errors
            raise TrackingUnavailable(f"MLflow could not register {model_name}: {error}") from error
        return str(found.version)

    def export_verified(
        self,
        model: LocalizationNet,
        output_path: Path,
        *,
        facts: ModelFacts,
        features: NDArray[np.float32],
        opset_version: int = DEFAULT_OPSET,
        do_constant_folding: bool = True,
    ) -> Parity:
        """Exports, describes, checks and compares; on any failure no file is left.

        Raises:
            ExportError: the file is invalid or disagrees with the network.
        """
        part = output_path.with_name(f".{output_path.name}.part")
        try:
            self.export_to_onnx(model, part, opset_version, do_constant_folding)
            write_properties(part, facts.to_properties(output_names(model)))
            self.validate_onnx_model(part, opset_version=opset_version)
            parity = self.test_onnx_inference(model, part, features)
            part.replace(output_path)
        finally:
            part.unlink(missing_ok=True)
        return parity


def export_and_register_model(
    exporter: ONNXExporter,
    model: LocalizationNet,
    output_path: Path,
    *,
    facts: ModelFacts,
    features: NDArray[np.float32],
    bucket_name: str,
    object_name: str,
    opset_version: int = DEFAULT_OPSET,
    do_constant_folding: bool = True,
    register_as: str | None = None,
    stage: str | None = None,
) -> ExportedModel:
    """Exports, verifies and uploads; with ``register_as`` also makes a version in MLflow's registry.

    Raises:
        ExportError: the file is invalid or disagrees with the network; nothing was uploaded.
        InfrastructureError: the store or MLflow did not answer.
    """
    parity = exporter.export_verified(
        model,
        output_path,
        facts=facts,
        features=features,
        opset_version=opset_version,
        do_constant_folding=do_constant_folding,
    )
    stored = exporter.upload_to_minio(output_path, bucket_name, object_name)
    if register_as is not None:
        metadata = {**exporter.get_model_metadata(output_path), "sha256": stored.sha256}
        exporter.register_with_mlflow(register_as, stored.uri, metadata, stage)
    return ExportedModel(path=output_path, object=stored, parity=parity, opset=opset_version)


def _ensure_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
