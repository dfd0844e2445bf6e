"""A run's manifest is judged before anything is trained: damaged, of another schema, of no training."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from heimdall_core.domain.errors import DataError, HeimdallError, InvalidRequest
from heimdall_core.domain.spec import DatasetRef
from heimdall_core.replay.record import read_record

Manifests = Callable[..., dict[str, Any]]


def refusal_of(content: object) -> HeimdallError:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(HeimdallError) as refusal:
        read_record(data, "manifest.json")
    return refusal.value


def damaged(manifest: Manifests, **changes: Any) -> dict[str, Any]:
    """``without`` names a member to take away; what has ``spec.`` before it changes the specification."""
    without = changes.pop("without", None)
    spec = changes.pop("spec", {})
    content = manifest(**changes)
    content["spec"] = content["spec"] | spec
    return {key: value for key, value in content.items() if key != without}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"without": "dataset"}, "no member 'dataset'"),
        ({"without": "spec"}, "no member 'spec'"),
        ({"without": "artifacts"}, "no member 'artifacts'"),
        ({"dataset": {"name": "north", "version": 3, "digest": None}}, "digest"),
        ({"spec": {"training": {"epochs": 0}}}, "spec.training.epochs"),
        ({"spec": {"moon": 1}}, "spec.moon"),
        ({"device": {"devices": 1, "precision": "fp32"}}, "no member 'accelerator'"),
        ({"device": {"accelerator": None, "precision": "fp32"}}, "device.accelerator"),
        ({"device": {"accelerator": "cpu"}}, "no member 'precision'"),
        ({"device": {"accelerator": "cpu", "precision": "fp8"}}, "device.precision"),
        ({"device": {"accelerator": "cpu", "precision": "fp32", "devices": "2"}}, "devices"),
        ({"device": []}, "manifest.json"),
        ({"host": {"torch_threads": -1}}, "torch_threads"),
        ({"trained": {"steps": "ten"}}, "steps"),
        ({"init_from": {"uri": "s3://m/x"}}, "sha256"),
        ({"artifacts": {"best.ckpt": {"uri": 7, "sha256": None}}}, "must be text"),
    ],
)
def test_a_damaged_manifest_is_refused_and_the_place_is_named(
    manifest: Manifests, changes: dict[str, Any], told: str
) -> None:
    error = refusal_of(damaged(manifest, **changes))
    assert isinstance(error, DataError)
    assert error.stable_code == "bad_run_manifest"
    assert told in error.message
    assert error.hint is not None


@pytest.mark.parametrize(
    ("data", "told"), [(b"{", "Expecting"), (b"\xff\xfe", "no manifest of a run"), (b"[]", "no JSON object")]
)
def test_what_is_no_json_object_is_refused(data: bytes, told: str) -> None:
    error = refusal_of(data)
    assert error.stable_code == "bad_run_manifest"
    assert told in error.message


@pytest.mark.parametrize("schema", [0, 3, "2", None])
def test_another_schema_is_refused(manifest: Manifests, schema: object) -> None:
    assert refusal_of(manifest(schema=schema)).stable_code == "run_manifest_schema"


def test_the_manifest_of_a_dataset_is_told_from_that_of_a_run() -> None:
    error = refusal_of({"schema": 1, "sessions": [], "receivers": []})
    assert isinstance(error, InvalidRequest)
    assert error.stable_code == "not_a_run_manifest"


def test_an_export_is_refused_and_its_training_is_named(manifest: Manifests) -> None:
    error = refusal_of(manifest(kind="export", device=None, train_job_id="job_7"))
    assert error.stable_code == "not_a_training"
    assert "job_7" in (error.hint or "")


def test_a_whole_manifest_says_all_that_a_replay_needs(manifest: Manifests) -> None:
    record = read_record(json.dumps(manifest()).encode(), "manifest.json")
    assert record.spec.dataset == DatasetRef(name="north", version=3)
    assert (record.num_threads, record.num_steps, record.weights_sha256) == (2, 10, "b" * 64)
    assert record.dataset_object is not None
    assert record.dataset_object.sha256 == "a" * 64
    assert record.weights_file is not None
    assert record.metrics == {"median_error_m": 7.0}


def test_a_manifest_of_the_first_schema_is_read(manifest: Manifests) -> None:
    old = {k: v for k, v in manifest(schema=1).items() if k not in {"kind", "trained", "weights", "metrics"}}
    old["dataset"] = {"name": "north", "version": 3, "digest": "d" * 64}
    record = read_record(json.dumps(old).encode(), "manifest.json")
    assert (record.num_steps, record.weights_sha256, record.dataset_object) == (None, None, None)
    assert record.weights_file is not None
