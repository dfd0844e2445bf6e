"""Where a model comes from: data, specification, versions, machine."""

import hashlib
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heimdall_core.domain.manifest import Manifest, canonical_json
from heimdall_core.domain.ports import Checkpoint, StoredObject
from heimdall_core.domain.spec import Backbone, TrainJobSpec, spec_to_dict
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.backbone import SIZES
from heimdall_core.training.dataset import SPLITS
from heimdall_core.training.installation import describe_code, describe_lock, installed_sha256

PROVENANCE_SCHEMA = 2
"""2 adds members to 1 and changes none; ``heimdall replay`` reads both."""
_PACKAGES = (
    "heimdall-training",
    "torch",
    "lightning",
    "transformers",
    "numpy",
    "scipy",
    "pyproj",
    "onnx",
    "onnxruntime",
    "mlflow",
)


# Read when it is imported: a checkout may have changed by the time that a warm process trains.
describe_code()


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
    pretrained: Mapping[str, Any] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is needed to repeat a run, and to see what could make the repetition differ.

    ``lineage`` is what the caller alone knows: ``manifest`` (the frozen dataset's object); ``job`` and
    ``adjustments``; of an export ``train_job_id`` and ``weights_from``.
    """
    known = dict(lineage or {})
    dataset = describe_dataset(manifest, digest) | {"manifest": known.pop("manifest", None)}
    return {
        "schema": PROVENANCE_SCHEMA,
        **known,
        "run_name": run_name,
        "dataset": dataset,
        "spec": spec_to_dict(spec),
        "seed": spec.training.seed,
        "init_from": describe_start(spec, init_weights),
        "pretrained": pretrained,
        "resumed_from": None if resume_from is None else resume_from.object.uri,
        **describe_environment(),
    }


def describe_pretrained(net: LocalizationNet, backbone: Backbone) -> dict[str, Any]:
    """The published weights that the backbone has before its first step, as this network holds them."""
    return {"weights": SIZES[backbone].weights, "backbone": describe_weights(net.backbone.state_dict())}


def describe_environment() -> dict[str, Any]:
    """Versions, code and machine: what of its surroundings can change a result in its last bits."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "code": describe_code(),
        "lock": describe_lock(),
        "installed_sha256": installed_sha256(),
        "host": describe_host(),
    }


def describe_weights(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What tells whether two trainings ended in the same weights."""
    return {
        "sha256": digest_weights(weights),
        "num_tensors": len(weights),
        "num_values": sum(tensor.numel() for tensor in weights.values()),
    }


def digest_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, shape, type and bytes of each tensor in order: equal for equal bits in any file."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        digest.update(canonical_json([name, list(tensor.shape), kind]) + b"\n")
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_host() -> dict[str, Any]:
    """What of the machine can change a result in its last bits."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "num_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "amx": torch.cpu._is_amx_tile_supported(),  # noqa: SLF001 - no public name
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
    }


@cache
def _cpu_name() -> str | None:
    """As Linux tells it; None elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


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
