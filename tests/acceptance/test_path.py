"""Recordings in, a registered ONNX model out, over HTTP, with the real network on a tiny dataset."""

import hashlib
import time
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def trained(service: Any, dataset: dict[str, Any]) -> dict[str, Any]:
    """A job that went all the way."""
    job: dict[str, Any] = service.finished(service.train(model="first-of-its-name")["id"])
    return job


def test_malformed_recordings_are_refused_by_name_and_the_rest_goes_on(
    service: Any, archives: dict[str, bytes], dataset: dict[str, Any]
) -> None:
    name, good = next(iter(archives.items()))
    files = {"cut.sigmf": good[:5000], "empty.sigmf-data": b"", name: good}
    job = service.finished(service.upload(files)["id"])
    refused = job["result"]["refused"]
    assert {r["name"].split("/")[0] for r in refused} == {"cut.sigmf", "empty.sigmf-data"}
    assert all(r["code"] and r["message"] for r in refused)
    assert job["result"]["duplicates"] == 1, "the good one is known already"


def test_only_approved_sessions_train(service: Any, dataset: dict[str, Any]) -> None:
    assert sum(dataset["counts"][split] for split in ("train", "val", "test")) == 60
    again = {"name": "tiny", "query": {}, "split": {"strategy": "spatial_block", "block_km": 20}}
    assert service.post("/v1/datasets", again)["version"] == 1, "the same content is the same version"


def test_the_job_tells_its_story(service: Any, trained: dict[str, Any]) -> None:
    names = [event["event"] for event in service.events(trained["id"])]
    phases = [e["data"]["phase"] for e in service.events(trained["id"]) if e["event"] == "job.phase"]
    assert names[0] == "job.queued"
    assert names[-1] == "job.succeeded"
    assert phases == ["preparing", "training", "evaluating", "exporting", "registering"]
    first_step = next(e for e in service.events(trained["id"]) if e["event"] == "first_step")
    assert first_step["data"]["seconds_since_submit"] > 0
    assert trained["progress"]["percent"] == pytest.approx(100.0)
    curves = service.get(f"/v1/jobs/{trained['id']}/metrics")["metrics"]
    assert {"train_loss", "val_loss", "val_median_error_m", "learning_rate"} <= set(curves)
    assert [a["outcome"] for a in trained["attempts"]] == ["succeeded"]
    assert trained["attempts"][0]["exit_code"] == 0


def test_every_artifact_is_what_its_checksum_says(service: Any, trained: dict[str, Any]) -> None:
    artifacts = {a["name"]: a for a in service.get(f"/v1/jobs/{trained['id']}/artifacts")["data"]}
    assert {
        "model.onnx",
        "report.json",
        "map.png",
        "error_cdf.png",
        "calibration.png",
        "manifest.json",
    } <= set(artifacts)
    for artifact in artifacts.values():
        content = httpx.get(artifact["download_url"]).content
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"], artifact["name"]
        assert len(content) == artifact["bytes"]


def test_the_registered_model_predicts_with_onnxruntime_alone(service: Any, trained: dict[str, Any]) -> None:
    model = trained["result"]["model"]
    version = service.get(f"/v1/models/{model['name']}/versions/{model['version']}")
    assert version["job_id"] == trained["id"]
    assert version["aliases"] == ["champion"]
    content = httpx.get(version["onnx"]["download_url"]).content
    assert hashlib.sha256(content).hexdigest() == version["onnx"]["sha256"]
    network = onnxruntime.InferenceSession(content)
    receivers = network.get_inputs()[0].shape[1]
    positions, sigmas = network.run(
        ["positions", "uncertainties"],
        {network.get_inputs()[0].name: np.zeros((3, receivers, 128, 32), np.float32)},
    )
    assert positions.shape == sigmas.shape == (3, 2)
    assert np.all(np.abs(positions - [44.95, 8.10]) < 3)
    assert np.all(sigmas > 0)


def test_the_evaluation_stands_beside_its_baselines(service: Any, trained: dict[str, Any]) -> None:
    metrics = trained["result"]["metrics"]
    assert metrics["median_error_m"] > 0
    assert 0 <= metrics["coverage_68"] <= 1
    assert {"train_mean", "knn"} <= set(trained["result"]["report"]["baselines"])


def test_mlflow_learns_of_the_version_when_it_answers(service: Any, trained: dict[str, Any]) -> None:
    model = trained["result"]["model"]
    path = f"/v1/models/{model['name']}/versions/{model['version']}"
    deadline = time.monotonic() + 120
    while service.get(path)["mlflow_version"] is None:
        assert time.monotonic() < deadline, service.get(path)
        time.sleep(0.5)
    assert service.get(path)["mlflow_run_id"]


def test_the_same_key_and_body_is_the_same_job(service: Any, dataset: dict[str, Any]) -> None:
    body = {
        "kind": "train",
        "dataset": {"name": "tiny"},
        "model": {"backbone": "micro"},
        "training": {"epochs": 1},
    }
    headers = {"Idempotency-Key": '"acceptance-1"'}
    first = service.http.post("/v1/jobs", json=body, headers=headers)
    second = service.http.post("/v1/jobs", json=body, headers=headers)
    other = service.http.post("/v1/jobs", json={**body, "tags": {"a": "b"}}, headers=headers)
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    service.finished(first.json()["id"])


def test_a_second_job_reuses_the_features(service: Any, trained: dict[str, Any]) -> None:
    job = service.finished(service.train(epochs=1, seed=5)["id"])
    ready = next(e for e in service.events(job["id"]) if e["event"] == "features_ready")
    assert ready["data"]["cached"] is True


def test_a_model_version_is_exported_again_with_another_opset(service: Any, trained: dict[str, Any]) -> None:
    model = trained["result"]["model"]
    job = service.finished(
        service.post("/v1/jobs", {"kind": "export", "source": {"model": model}, "outputs": [{"opset": 17}]})[
            "id"
        ]
    )
    # Another number of threads sums in another order.
    assert job["result"]["metrics"] == pytest.approx(trained["result"]["metrics"], rel=1e-5)
    assert job["result"]["model"] is None, "it was not asked to register"
    assert job["parent_job_id"] == trained["id"]
    artifacts = {a["name"]: a for a in service.get(f"/v1/jobs/{job['id']}/artifacts")["data"]}
    assert artifacts["model.onnx"]["facts"]["opset"] == 17
    content = httpx.get(artifacts["model.onnx"]["download_url"]).content
    assert hashlib.sha256(content).hexdigest() == artifacts["model.onnx"]["sha256"]


def test_a_durable_checkpoint_becomes_the_next_version_if_asked(
    service: Any, trained: dict[str, Any]
) -> None:
    checkpoint = service.get(f"/v1/jobs/{trained['id']}/checkpoints")["data"][0]
    body = {
        "kind": "export",
        "source": {"checkpoint_id": checkpoint["id"]},
        "register": {"enabled": True, "promote": "never"},
    }
    job = service.finished(service.post("/v1/jobs", body)["id"])
    model = trained["result"]["model"]
    assert job["result"]["model"] == {"name": model["name"], "version": model["version"] + 1}
    assert service.get(f"/v1/models/{model['name']}")["champion_version"] == model["version"]


def test_the_served_model_is_evaluated_on_a_split(service: Any, trained: dict[str, Any]) -> None:
    body = {"kind": "evaluate", "model": trained["result"]["model"], "dataset": {"name": "tiny"}}
    job = service.finished(service.post("/v1/jobs", body)["id"])
    metrics = trained["result"]["metrics"]
    assert job["result"]["metrics"]["median_error_m"] == pytest.approx(metrics["median_error_m"], rel=1e-3)
    assert job["result"]["sessions_trained_on"] == 0
    names = {a["name"] for a in service.get(f"/v1/jobs/{job['id']}/artifacts")["data"]}
    assert {"report.json", "map.png", "error_cdf.png", "calibration.png"} <= names
