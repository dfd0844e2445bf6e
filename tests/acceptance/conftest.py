"""The whole service as ``heimdall up`` starts it, and a caller that knows only HTTP."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from heimdall_core.recordings.archive import pack_session
from heimdall_core.simulation.world_a import simulate_sessions

QUICK_LEASES = {
    "HEIMDALL_LEASE__LEASE_SECONDS": "8",
    "HEIMDALL_LEASE__HEARTBEAT_SECONDS": "1",
    "HEIMDALL_LEASE__STOP_AFTER_SECONDS": "5",
    "HEIMDALL_LEASE__KILL_AFTER_SECONDS": "6.5",
    "HEIMDALL_LEASE__FLAG_POLL_SECONDS": "0.2",
    "HEIMDALL_LEASE__STOP_GRACE_SECONDS": "5",
    "HEIMDALL_WORKER__IDLE_POLL_SECONDS": "1",
    "HEIMDALL_WORKER__CHECKPOINT_SECONDS": "0.5",
    "OMP_NUM_THREADS": "1",
}
NUM_SESSIONS = 60


@dataclass(frozen=True)
class Service:
    """A running service."""

    home: Path
    http: httpx.Client

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(path, params=parameters)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.http.post(path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def wait_for(
        self, job_id: str, condition: Callable[[dict[str, Any]], bool], *, seconds: float = 180
    ) -> dict[str, Any]:
        """The job once the condition holds; fails with the whole job if it does not come to pass."""
        deadline = time.monotonic() + seconds
        while True:
            job: dict[str, Any] = self.get(f"/v1/jobs/{job_id}")
            if condition(job):
                return job
            if job["is_terminal"] or time.monotonic() > deadline:
                pytest.fail(
                    json.dumps(job, indent=1) + self.get(f"/v1/jobs/{job_id}/logs")["content"][-3000:]
                )
            time.sleep(0.1)

    def finished(self, job_id: str, status: str = "succeeded") -> dict[str, Any]:
        return self.wait_for(job_id, lambda job: job["status"] == status)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.get(f"/v1/jobs/{job_id}/events", limit=1000)["data"]
        return events

    def upload(self, files: dict[str, bytes], **options: Any) -> dict[str, Any]:
        """Sends files the way any caller does, and starts their import."""
        upload = self.post(
            "/v1/uploads",
            {
                "files": [
                    {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                    for name, data in files.items()
                ]
            },
        )
        for target in upload["files"]:
            answer = httpx.put(target["url"], content=files[target["name"]], headers=target["headers"])
            assert answer.is_success
        job: dict[str, Any] = self.post(f"/v1/uploads/{upload['id']}:complete", {"options": options})
        return job

    def train(self, *, model: str = "localization", **training: Any) -> dict[str, Any]:
        job: dict[str, Any] = self.post(
            "/v1/jobs",
            {
                "kind": "train",
                "dataset": {"name": "tiny"},
                "model": {"name": model, "backbone": "micro"},
                "training": {"epochs": 2, "batch_size": 16, **training},
            },
        )
        return job

    def pid_of(self, process: str) -> int:
        return pid_of(self.home, process)


def pid_of(home: Path, process: str) -> int:
    """Of one of the service's processes."""
    state = json.loads(heimdall("status", "--json", "--home", str(home)).stdout)
    return int(next(p["pid"] for p in state["processes"] if p["name"] == process))


def heimdall(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heimdall_core.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | QUICK_LEASES,
        check=False,
    )


def free_port() -> int:
    """A port of our own: somebody may be running the service on the preferred one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Started once, with leases of seconds; only its logs stay."""
    home = tmp_path_factory.mktemp("service")
    started = heimdall("up", "--detach", "--home", str(home), "--port", str(free_port()))
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        state = json.loads((home / "state.json").read_text())
        key = (home / "api-key").read_text().strip()
        with httpx.Client(
            base_url=state["url"], headers={"Authorization": f"Bearer {key}"}, timeout=30
        ) as http:
            yield Service(home=home, http=http)
    finally:
        heimdall("down", "--home", str(home))
        for name in ("postgres", "valkey", "s3", "cache", "work"):
            shutil.rmtree(home / name, ignore_errors=True)


@pytest.fixture(scope="session")
def archives() -> dict[str, bytes]:
    """Sixty sessions of world A."""
    sessions = simulate_sessions(NUM_SESSIONS, seed=7)
    return {f"session-{n:03}.sigmf": pack_session(s).data for n, s in enumerate(sessions)}


@pytest.fixture(scope="session")
def dataset(service: Service, archives: dict[str, bytes]) -> dict[str, Any]:
    """A small dataset that came in through the API's own path."""
    job = service.finished(service.upload(archives, auto_approve=True)["id"])
    body = {
        "name": "tiny",
        "query": {"import_job_ids": [job["id"]]},
        "split": {"strategy": "spatial_block", "block_km": 20},
    }
    version: dict[str, Any] = service.post("/v1/datasets", body)
    return version
