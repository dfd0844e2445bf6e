"""The service under the browser: started, asked over HTTP, its API killed and awaited."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.conftest import Service, free_port, heimdall


@dataclass(frozen=True)
class Stack(Service):
    """A running service, and the key of whoever runs it."""

    url: str
    key: str

    def freeze(self, name: str, archives: dict[str, bytes]) -> dict[str, Any]:
        """A dataset of recordings that come in by upload."""
        job = self.finished(self.upload(archives, auto_approve=True)["id"])
        query = {"import_job_ids": [job["id"]]}
        split = {"strategy": "spatial_block", "block_km": 20}
        version: dict[str, Any] = self.post("/v1/datasets", {"name": name, "query": query, "split": split})
        return version

    def submit(self, tag: str, **training: Any) -> dict[str, Any]:
        """A small training that can be found by its tag."""
        body = {
            "kind": "train",
            "dataset": {"name": "tiny"},
            "model": {"backbone": "micro"},
            "training": {"batch_size": 16, **training},
            "tags": {"e2e": tag},
        }
        job: dict[str, Any] = self.post("/v1/jobs", body)
        return job

    def new_key(self, name: str, *scopes: str) -> str:
        """A key that may do this much."""
        return str(self.post("/v1/api-keys", {"name": name, "scopes": list(scopes)})["key"])

    def kill_api(self) -> None:
        """As a crash would; ``heimdall up`` starts it anew."""
        os.kill(self.pid_of("api"), signal.SIGKILL)

    def await_api(self, *, seconds: float = 60) -> None:
        """Returns once the API answers again."""
        deadline = time.monotonic() + seconds
        while not self._answers():
            assert time.monotonic() < deadline, "the API did not come back"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def started(home: Path) -> Iterator[Stack]:
    """The service with data in ``home``; at the end its data go, its logs stay."""
    up = heimdall("up", "--detach", "--home", str(home), "--port", str(free_port()))
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        with running(home) as stack:
            yield stack
    finally:
        heimdall("down", "--home", str(home))
        for name in ("postgres", "valkey", "s3", "cache", "work"):
            shutil.rmtree(home / name, ignore_errors=True)


@contextmanager
def running(home: Path) -> Iterator[Stack]:
    """The service that was started with data in ``home``; it stays."""
    url = str(json.loads((home / "state.json").read_text())["url"])
    key = (home / "api-key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as http:
        yield Stack(home=home, http=http, url=url, key=key)
