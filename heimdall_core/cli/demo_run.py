"""The demonstration's way through the API: import, approve, freeze, train; what exists is reused."""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from heimdall_core.cli.client import ApiClient, Json
from heimdall_core.cli.datasets_commands import describe
from heimdall_core.cli.demo_plan import DemoPlan
from heimdall_core.cli.errors import JobUnsuccessful, RequestRefused
from heimdall_core.cli.following import follow
from heimdall_core.cli.output import say
from heimdall_core.cli.recordings_commands import upload_and_import
from heimdall_core.embedded.home import write_private

NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What an earlier run with the same input has made."""

    import_job: str | None = None
    dataset_version: int | None = None


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One run of a plan against one API; ``memory`` is the file that tells the next run."""

    client: ApiClient
    plan: DemoPlan
    memory: Path

    def dataset(self) -> Json:
        """Imports, approves and freezes the plan's recordings, or finds that this was done."""
        known = self._recall()
        if known.dataset_version is not None:
            path = f"/v1/datasets/{self.plan.dataset}/versions/{known.dataset_version}"
            if version := self._find(path):
                say(f"  reusing {describe(version)}")
                return version
        version = self._freeze(self._imported(known))
        self._remember(replace(self._recall(), dataset_version=version["version"]))
        say(f"  froze {describe(version)}")
        return version

    def _imported(self, known: Remembered) -> str:
        """The id of the import job whose sessions are the plan's."""
        former = self._find(f"/v1/jobs/{known.import_job}") if known.import_job else None
        if former and former["status"] == "succeeded":
            say(f"  reusing the recordings of import {former['id']}")
            return str(former["id"])
        job = upload_and_import(self.client, self.plan.files(), self.plan.import_options)
        import_job = str(job["id"])
        answer = self.client.post("/v1/recording-sessions:approve", {"import_job_id": import_job})
        say(f"  approved {answer['approved']} sessions")
        self._remember(Remembered(import_job=import_job))
        return import_job

    def _freeze(self, import_job: str) -> Json:
        body = {
            "name": self.plan.dataset,
            "query": {"import_job_ids": [import_job]},
            "split": self.plan.split,
        }
        return self.client.post("/v1/datasets", body)

    def train(self, dataset_version: int, *, retrain: bool) -> Json:
        """Submits the training job and follows it; a job that has succeeded before is shown again.

        Raises:
            JobUnsuccessful: the job failed or was cancelled.
        """
        body = self.plan.train_body(dataset_version)
        key = "demo-" + (secrets.token_hex(8) if retrain else _digest_of(body))
        job = self.client.post("/v1/jobs", body, key=key)
        job = self.client.get(f"/v1/jobs/{job['id']}")  # a repeated answer is that of the first time
        if job["status"] in {"failed", "cancelled"} and not retrain:
            say(f"  job {job['id']} of an earlier run {job['status']}; training again")
            return self.train(dataset_version, retrain=True)
        if job["is_terminal"]:
            say(f"  already trained by job {job['id']}; --retrain trains again")
            return _succeeded(job)
        say(f"  job [bold]{job['id']}[/]  {self.client.url}/v1/jobs/{job['id']}")
        return follow(self.client, job["id"])

    def _find(self, path: str) -> Json | None:
        try:
            return self.client.get(path)
        except RequestRefused as refused:
            if refused.status == NOT_FOUND:
                return None
            raise

    def _recall(self) -> Remembered:
        try:
            return Remembered(**json.loads(self.memory.read_bytes()))
        except (OSError, ValueError, TypeError):
            return Remembered()

    def _remember(self, known: Remembered) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.memory, json.dumps(asdict(known)))


def _succeeded(job: Json) -> Json:
    if job["status"] != "succeeded":
        raise JobUnsuccessful(f"job {job['id']} {job['status']}")
    return job


def _digest_of(body: Json) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
