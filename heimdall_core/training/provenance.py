"""Where a model comes from: data, specification, versions, machine."""

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import Checkpoint, StoredObject
from heimdall_core.domain.spec import TrainJobSpec, spec_to_dict
from heimdall_core.training.dataset import SPLITS

PROVENANCE_SCHEMA = 1
_PACKAGES = (
    "heimdall-training",
    "torch",
    "lightning",
    "transformers",
    "numpy",
    "onnx",
    "onnxruntime",
    "mlflow",
)


def describe_dataset(manifest: Manifest, digest: str) -> dict[str, Any]:
    """The dataset version: name, digest and sizes."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": digest,
        "num_receivers": len(manifest.receivers),
        "num_sessions": {split: len(manifest.of_split(split)) for split in SPLITS},
    }


def describe_start(spec: TrainJobSpec, init_weights: StoredObject | None) -> dict[str, Any] | None:
    """The weights that a training started from, and the model version they are of, if it has a name."""
    if init_weights is None:
        return None
    named = {} if spec.init_from is None else asdict(spec.init_from)
    return {**named, "uri": init_weights.uri, "sha256": init_weights.sha256}


def describe_run(
    *,
    spec: TrainJobSpec,
    manifest: Manifest,
    digest: str,
    run_name: str,
    resume_from: Checkpoint | None,
    init_weights: StoredObject | None = None,
) -> dict[str, Any]:
    """What is needed to repeat a run, and to see what could make the repetition differ."""
    return {
        "schema": PROVENANCE_SCHEMA,
        "run_name": run_name,
        "dataset": describe_dataset(manifest, digest),
        "spec": spec_to_dict(spec),
        "seed": spec.training.seed,
        "init_from": describe_start(spec, init_weights),
        "resumed_from": None if resume_from is None else resume_from.object.uri,
        "versions": {"python": platform.python_version(), **_versions()},
        "host": describe_host(),
    }


def describe_host() -> dict[str, Any]:
    """What of the machine can change a result in its last bits."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "num_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def to_plain(value: Any) -> Any:
    """The same value of JSON's own types; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted names, as MLflow's parameters are."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat.update(flatten(item, f"{name}."))
        else:
            flat[name] = item
    return flat


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
