"""What a job needs is recorded and yet gone, or another: the job says so, with a remedy, and is not retried."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from heimdall_core.domain.errors import DataError, ErrorCategory
from heimdall_core.domain.spec import DatasetRef, TrainJobSpec, spec_to_dict
from heimdall_core.settings import Settings
from heimdall_core.storage import FolderStore
from worker.job_kinds import RUNNERS

WEIGHTS = {"uri": "s3://models/jobs/1/best.ckpt", "sha256": "a" * 64, "num_bytes": 7}
MANIFEST = {"manifest_uri": "s3://models/datasets/north/d.json", "manifest_sha256": "b" * 64}


def settings_of(folder: Path) -> Settings:
    return Settings(
        _env_file=None,
        database={"url": "postgresql+psycopg://nobody@127.0.0.1:9/none"},
        redis={"url": "redis://127.0.0.1:9/0"},
        storage={"access_key_id": "id", "secret_access_key": "secret"},
        cache_dir=folder / "cache",
    )


def failure_of(
    kind: str, start: dict[str, Any], store: FolderStore, folder: Path, reporter: Any
) -> DataError:
    whole = {"workspace": str(folder), "job_id": "job_1", "attempt": 1, "num_threads": 1, **start}
    whole |= {"output_uri": "s3://models/jobs/2/a1", "adjustments": {}}
    with pytest.raises(DataError) as failure:
        RUNNERS[kind](whole, reporter, store, settings_of(folder))
    info = failure.value.to_info()
    assert (info.category, info.retryable) == (ErrorCategory.DATA, False)
    return failure.value


def export_start() -> dict[str, Any]:
    spec = spec_to_dict(TrainJobSpec(kind="train", dataset=DatasetRef(name="north", version=1)))
    return {
        "inputs": {**MANIFEST, "train_job_id": "job_1", "train_spec": spec, "weights": WEIGHTS},
        "spec": {"outputs": [{}], "register": {"enabled": False}},
    }


def test_an_export_whose_checkpoint_is_gone_names_the_others_of_its_training(
    folder_store: FolderStore, tmp_path: Path, reporter: Any
) -> None:
    error = failure_of("export", export_start(), folder_store, tmp_path, reporter)
    assert error.stable_code == "weights_gone"
    assert WEIGHTS["uri"] in error.message
    assert "/v1/jobs/job_1/checkpoints" in (error.hint or "")


def test_an_export_of_weights_that_were_replaced_is_refused(
    folder_store: FolderStore, tmp_path: Path, reporter: Any
) -> None:
    folder_store.put_bytes(str(WEIGHTS["uri"]), b"another")
    assert (
        failure_of("export", export_start(), folder_store, tmp_path, reporter).stable_code == "object_changed"
    )


def test_an_evaluation_of_a_version_whose_file_is_gone_says_so(
    folder_store: FolderStore, tmp_path: Path, reporter: Any
) -> None:
    inputs = {**MANIFEST, "trained_on": MANIFEST, "onnx": WEIGHTS}
    start = {"inputs": inputs, "spec": {"split": "test"}}
    assert failure_of("evaluate", start, folder_store, tmp_path, reporter).stable_code == "model_file_gone"


def test_an_evaluation_on_a_dataset_whose_manifest_is_gone_says_so(
    folder_store: FolderStore, tmp_path: Path, reporter: Any
) -> None:
    onnx = {"uri": "s3://models/model.onnx", "sha256": hashlib.sha256(b"onnx").hexdigest(), "num_bytes": 4}
    folder_store.put_bytes(str(onnx["uri"]), b"onnx")
    start = {"inputs": {**MANIFEST, "trained_on": MANIFEST, "onnx": onnx}, "spec": {"split": "test"}}
    assert failure_of("evaluate", start, folder_store, tmp_path, reporter).stable_code == "dataset_gone"
