"""Pipelines over the tiny dataset, which differ in what a test says otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.spec import TrainJobSpec
from heimdall_core.pipeline import TrainingPipeline
from heimdall_core.storage import FolderStore


def pipeline_maker(
    spec: TrainJobSpec, dataset: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., TrainingPipeline]:
    """Makes pipelines that share a feature cache, each with a workspace of its own."""
    cache_dir = tmp_path_factory.mktemp("cache")

    def make(reporter: Any, **changes: Any) -> TrainingPipeline:
        torch.set_num_threads(1)
        root, manifest = dataset
        values: dict[str, Any] = {
            "spec": spec,
            "manifest": manifest,
            "store": FolderStore(root),
            "reporter": reporter,
            "output_uri": "s3://models/jobs/job_1/a1",
            "workspace": tmp_path_factory.mktemp("work"),
            "cache_dir": cache_dir,
            "run_name": "job_1",
            "tags": {"heimdall.job_id": "job_1"},
        }
        return TrainingPipeline(**{**values, **changes})

    return make
