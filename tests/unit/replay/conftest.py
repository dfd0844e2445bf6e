"""A run's manifest, whole; tests damage it."""

from collections.abc import Callable
from typing import Any

import pytest

from heimdall_core.domain.spec import DatasetRef, TrainJobSpec, spec_to_dict

SPEC = spec_to_dict(TrainJobSpec(kind="train", dataset=DatasetRef(name="north", version=3)))
STORED = {"uri": "s3://models/jobs/1/best.ckpt", "sha256": "a" * 64, "bytes": 7}


def _manifest(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 2,
        "kind": "train",
        "run_name": "job_1",
        "dataset": {"name": "north", "version": 3, "digest": "d" * 64, "manifest": STORED},
        "spec": SPEC,
        "init_from": None,
        "device": {"accelerator": "cpu", "devices": 1, "precision": "fp32"},
        "trained": {"epochs": 2, "steps": 10, "best_epoch": 1},
        "host": {"torch_threads": 2},
        "weights": {"sha256": "b" * 64},
        "metrics": {"median_error_m": 7.0},
        "artifacts": {"best.ckpt": STORED},
    } | changes


@pytest.fixture(scope="session")
def manifest() -> Callable[..., dict[str, Any]]:
    return _manifest
