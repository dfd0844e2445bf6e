"""The service under the browser: started, asked over HTTP, its API killed and awaited."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from heimdall_client import HeimdallClient, Job
from tests.acceptance.conftest import free_port, heimdall, pid_of


@dataclass(frozen=True)
class Stack:
    """A running service, its client, and the key of whoever runs it."""

    home: Path
    key: str
    heimdall: HeimdallClient

    @property
    def url(self) -> str:
        return self.heimdall.url

    def freeze(self, name: str, archives: dict[str, bytes]) -> None:
        """A dataset of recordings that come in by upload."""
        with tempfile.TemporaryDirectory() as folder:
            for file, data in archives.items():
                Path(folder, file).write_bytes(data)
            upload = self.heimdall.recordings.upload([folder], auto_approve=True)
        query = {"import_job_ids": [self.finished(upload.id).id]}
        self.heimdall.datasets.create(name, query=query, split={"strategy": "spatial_block", "block_km": 20})

    def submit(self, tag: str, **training: Any) -> Job:
        """A small training that can be found by its tag."""
        return self.heimdall.jobs.train(
            "tiny",
            model={"backbone": "micro"},
            training={"batch_size": 16, **training},
            tags={"e2e": tag},
        )

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return self.heimdall.jobs.get(job_id)

    def tagged(self, tag: str, *, status: str | None = None) -> list[Job]:
        """The jobs with the tag, newest first."""
        return list(self.heimdall.jobs.list(tag=f"e2e:{tag}", status=status))

    def finished(self, job_id: str) -> Job:
        """The job once it has succeeded."""
        return self.heimdall.jobs.wait(job_id, timeout=180)

    def ended(self, job_id: str) -> Job:
        """The job once it has ended, well or not."""
        return self.heimdall.jobs.wait(job_id, timeout=180, check=False)

    def champion(self) -> int | None:
        """The version of the model that is the champion."""
        return self.heimdall.models.get("localization").champion_version

    def new_key(self, name: str, *scopes: str) -> str:
        """A key that may do this much."""
        return self.heimdall.api_keys.create(name, scopes=scopes).key

    def kill_api(self) -> None:
        """As a crash would; ``heimdall up`` starts it anew."""
        os.kill(pid_of(self.home, "api"), signal.SIGKILL)

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
    with HeimdallClient(url, key) as client:
        yield Stack(home=home, key=key, heimdall=client)
