"""Weights exported again, weights that are gone, and files fetched in part, on the running service."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from heimdall_core.cli.doctor_surroundings import find_surroundings
from heimdall_core.storage import S3Store

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def trained(service: Any, dataset: dict[str, Any]) -> dict[str, Any]:
    """A training that succeeded."""
    job: dict[str, Any] = service.finished(service.train(model="reproduced")["id"])
    return job


def export(service: Any, **source: Any) -> str:
    job: dict[str, str] = service.post("/v1/jobs", {"kind": "export", "source": source})
    return job["id"]


def test_a_training_is_exported_again_by_the_id_of_its_job(service: Any, trained: dict[str, Any]) -> None:
    job = service.finished(export(service, job_id=trained["id"]))
    assert job["parent_job_id"] == trained["id"]
    assert job["result"]["onnx"]["sha256"]
    # Another number of threads sums in another order.
    assert job["result"]["metrics"] == pytest.approx(trained["result"]["metrics"], rel=1e-5)


def test_a_checkpoint_whose_object_is_gone_fails_at_once_and_says_what_to_do(
    service: Any, trained: dict[str, Any]
) -> None:
    checkpoint = service.get(f"/v1/jobs/{trained['id']}/checkpoints")["data"][-1]
    settings = find_surroundings(service.home).settings
    assert settings is not None
    S3Store(settings.storage).delete(checkpoint["uri"])
    job = service.finished(export(service, checkpoint_id=checkpoint["id"]), "failed")
    error = job["error"]
    assert (error["code"], error["category"], error["retryable"]) == ("weights_gone", "data", False)
    assert f"/v1/jobs/{trained['id']}/checkpoints" in error["hint"]
    assert len(job["attempts"]) == 1


def test_a_file_is_fetched_in_two_parts(service: Any, trained: dict[str, Any]) -> None:
    files = service.get(f"/v1/jobs/{trained['id']}/artifacts")["data"]
    file = next(f for f in files if f["name"] == "model.onnx")
    head = service.http.get(file["content_url"], headers={"Range": "bytes=0-999"})
    rest = service.http.get(
        file["content_url"], headers={"Range": "bytes=1000-", "If-Range": head.headers["ETag"]}
    )
    assert (head.status_code, rest.status_code) == (206, 206)
    assert hashlib.sha256(head.content + rest.content).hexdigest() == file["sha256"]


def test_a_training_is_replayed_from_its_manifest_alone_to_the_same_bits(
    service: Any, trained: dict[str, Any]
) -> None:
    command = [sys.executable, "-m", "heimdall_core.cli.main", "replay", trained["id"], "--json"]
    environment = os.environ | {"HEIMDALL_HOME": str(service.home)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["agree"], found["differences"]) == (True, [])
    errors = found["metrics"]["median_error_m"]
    assert errors["then"] == errors["now"] == trained["result"]["metrics"]["median_error_m"]
