"""Where ``heimdall replay`` finds a run's manifest: a file, a store, a job, a model version."""

import hashlib
from pathlib import Path

import httpx
import pytest

from heimdall_core.cli import replay_sources
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import RequestRefused
from heimdall_core.cli.replay_sources import find_manifest, find_store
from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.storage import FolderStore

TEXT = b'{"schema": 2}'
FILE = {
    "name": "manifest.json",
    "uri": "s3://models/jobs/1/a1/manifest.json",
    "sha256": hashlib.sha256(TEXT).hexdigest(),
    "download_url": "http://store.test/m",
}
JOBS = {
    "job_train": {"id": "job_train", "kind": "train", "status": "succeeded", "parent_job_id": None},
    "job_export": {"id": "job_export", "kind": "export", "status": "succeeded", "parent_job_id": "job_train"},
    "job_running": {"id": "job_running", "kind": "train", "status": "running", "parent_job_id": None},
}


def answer(request: httpx.Request) -> httpx.Response:
    match request.url.path.strip("/").split("/"):
        case ["v1", "jobs", job] if job in JOBS:
            return httpx.Response(200, json=JOBS[job])
        case ["v1", "jobs", job, "artifacts"]:
            return httpx.Response(200, json={"data": [FILE] if job == "job_train" else []})
        case ["v1", "models", "north", "versions", "2"]:
            return httpx.Response(200, json={"job_id": "job_export"})
    return httpx.Response(404, json={"code": "not_found", "detail": f"no {request.url.path}"})


@pytest.fixture(autouse=True)
def _service(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(
        replay_sources, "connect", lambda: ApiClient("http://api.test", "key", transport=transport)
    )

    def download(url: str, target: Path, *, sha256: str) -> None:
        assert (url, sha256) == (FILE["download_url"], FILE["sha256"])
        target.write_bytes(TEXT)

    monkeypatch.setattr(replay_sources, "download_checked", download)


@pytest.mark.parametrize("named", ["job_train", "job_export", "north/2"])
def test_a_job_an_export_and_a_model_version_lead_to_the_training(named: str) -> None:
    found = find_manifest(named)
    assert (found.data, found.name, found.beside) == (TEXT, FILE["uri"], None)


def test_a_file_a_folder_and_a_uri_name_it_themselves(tmp_path: Path) -> None:
    FolderStore(tmp_path).put_bytes("s3://models/a/manifest.json", TEXT)
    folder = tmp_path / "models" / "a"
    for named in (str(folder), str(folder / "manifest.json")):
        assert find_manifest(named).beside == folder
    assert find_manifest("s3://models/a/manifest.json", store_root=str(tmp_path)).data == TEXT


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no file moon\.json"):
        find_manifest("moon.json")
    with pytest.raises(InvalidRequest, match="no object s3://models/a"):
        find_manifest("s3://models/a", store_root=str(tmp_path))
    with pytest.raises(InvalidRequest, match="train job that is running"):
        find_manifest("job_running")
    with pytest.raises(RequestRefused):
        find_manifest("job_none")


def test_without_settings_or_a_local_stack_the_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIMDALL_URL", "http://api.test")
    with pytest.raises(DataError) as refusal:
        find_store(None)
    assert "--store-root" in (refusal.value.hint or "")


def test_results_that_lie_beside_their_dataset_are_their_own_store(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    assert isinstance(find_store(None, tmp_path), FolderStore)
