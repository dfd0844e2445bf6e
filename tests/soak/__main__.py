"""``python -m tests.soak``: hours of small jobs, cancels, kills and restarts; then nothing may have grown.

Starts ``heimdall up`` in a folder of its own, works it through HTTP, samples every process each quarter of a minute while
nothing runs, and compares the last quarter of the samples with the second.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from heimdall_core.recordings.archive import pack_session
from heimdall_core.simulation.world_a import simulate_sessions
from tests.soak.processes import command_of, descendants, held_by

QUICK = {
    "HEIMDALL_LEASE__LEASE_SECONDS": "8",
    "HEIMDALL_LEASE__HEARTBEAT_SECONDS": "1",
    "HEIMDALL_LEASE__STOP_AFTER_SECONDS": "5",
    "HEIMDALL_LEASE__KILL_AFTER_SECONDS": "6.5",
    "HEIMDALL_LEASE__FLAG_POLL_SECONDS": "0.2",
    "HEIMDALL_LEASE__STOP_GRACE_SECONDS": "3",
    "HEIMDALL_WORKER__IDLE_POLL_SECONDS": "1",
    "HEIMDALL_WORKER__CHECKPOINT_SECONDS": "0.5",
    "HEIMDALL_RETENTION__BEST_CHECKPOINTS": "0",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}
HOME = Path("/tmp/heimdall-soak")
WATCHED = ("api", "worker", "control")
#: What the last quarter may hold more than the second: noise of an allocator, a reconnected pool.
TOLERATED = {"rss_mb": 40.0, "descriptors": 8.0, "threads": 4.0, "processes": 0.5}


class Stack:
    """A running service and how it is treated badly."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.random = random.Random(1)
        state = json.loads((home / "state.json").read_text())
        key = (home / "api-key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=state["url"], headers=headers, timeout=30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Insists, for the API is killed now and then."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self.http.request(method, path, json=body)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if answer.status_code < 500:
                return answer.json()
            time.sleep(0.2)

    def pids(self) -> dict[str, int]:
        """Of each process of the stack."""
        status = heimdall("status", "--json", home=self.home)
        return {p["name"]: p["pid"] for p in json.loads(status.stdout)["processes"] if p["pid"]}

    def prepare(self) -> None:
        """A tiny dataset, through the front door."""
        archives = {f"{n}.sigmf": pack_session(s).data for n, s in enumerate(simulate_sessions(40, seed=7))}
        upload = self.call(
            "POST", "/v1/uploads", {"files": [{"name": n, "size": len(d)} for n, d in archives.items()]}
        )
        for target in upload["files"]:
            httpx.put(target["url"], content=archives[target["name"]]).raise_for_status()
        body = {"options": {"auto_approve": True}}
        job = self.call("POST", f"/v1/uploads/{upload['id']}:complete", body)
        self.wait([job["id"]])
        split = {"strategy": "spatial_block", "block_km": 20}
        self.call("POST", "/v1/datasets", {"name": "tiny", "split": split})

    def submit(self) -> str:
        """A training of a second or two."""
        body = {
            "kind": "train",
            "dataset": {"name": "tiny"},
            "model": {"backbone": "micro"},
            "training": {"epochs": self.random.randint(1, 6), "batch_size": 8},
            "limits": {"max_attempts": 8},
        }
        return str(self.call("POST", "/v1/jobs", body)["id"])

    def disturb(self, job_id: str) -> str:
        """One of the things that happen in a long life."""
        what = self.random.choice(
            ["nothing", "nothing", "cancel", "pause", "trainer", "worker", "api", "control"]
        )
        time.sleep(self.random.uniform(0.2, 2.0))
        if what in {"cancel", "pause"}:
            self.call("POST", f"/v1/jobs/{job_id}:{what}")
        elif what == "trainer":
            attempts = self.call("GET", f"/v1/jobs/{job_id}")["attempts"]
            pid = self._trainer_of(attempts)
            _kill(pid)
        elif what != "nothing":
            _kill(self.pids().get(what))
        return what

    def _trainer_of(self, attempts: list[dict[str, Any]]) -> int | None:
        worker = self.pids().get("worker")
        if not attempts or worker is None:
            return None
        forked = [p for p in descendants(worker) if "fork_server" in command_of(p)]
        return forked[-1] if len(forked) > 1 else None

    def wait(self, job_ids: list[str], seconds: float = 180) -> None:
        """Until each has ended; paused ones are resumed."""
        deadline = time.monotonic() + seconds
        waiting = list(job_ids)
        while waiting:
            assert time.monotonic() < deadline, f"{waiting} did not end"
            time.sleep(0.3)
            for job_id in list(waiting):
                job = self.call("GET", f"/v1/jobs/{job_id}")
                if job["is_terminal"]:
                    waiting.remove(job_id)
                elif job["status"] == "paused":
                    self.call("POST", f"/v1/jobs/{job_id}:resume")

    def sample(self) -> dict[str, Any]:
        """What is held while nothing runs."""
        pids = self.pids()
        held = {name: held_by(descendants(pids[name])).to_dict() for name in WATCHED if name in pids}
        workspaces = len(list((self.home / "work").iterdir())) if (self.home / "work").is_dir() else 0
        postgres = len(descendants(pids["postgres"])) - 1 if "postgres" in pids else 0
        return {"held": held, "workspaces": workspaces, "database_processes": postgres}


def _kill(pid: int | None) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def heimdall(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heimdall_core.cli.main", *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | QUICK, check=False)


@contextmanager
def running(home: Path) -> Iterator[Stack]:
    started = heimdall("up", "--detach", home=home)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield Stack(home)
    finally:
        heimdall("down", home=home)


def work(stack: Stack, minutes: float) -> list[dict[str, Any]]:
    """Rounds of three jobs with one disturbance, and a sample after each when the workers are back."""
    samples = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        job_ids = [stack.submit() for _ in range(3)]
        what = stack.disturb(job_ids[0])
        stack.wait(job_ids)
        _settle(stack)
        samples.append(stack.sample() | {"after": what})
    return samples


def _settle(stack: Stack) -> None:
    """Until the worker's fork server is warm again and nothing runs."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(1.0)
        workers = stack.call("GET", "/v1/workers")["data"]
        if len(stack.pids()) >= 7 and not any(w["running_job_ids"] for w in workers):
            return


def judge(samples: list[dict[str, Any]]) -> list[str]:
    """What grew: medians of the last quarter against those of the second."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = []
    for name in WATCHED:
        for what, tolerated in TOLERATED.items():
            before, after = (_median(part, name, what) for part in (early, late))
            print(f"{name:8} {what:12} {before:10.1f} -> {after:10.1f}")
            if after > before + tolerated:
                grown.append(f"{what} of {name} grew from {before:g} to {after:g}")
    for what, tolerated in (("workspaces", 3), ("database_processes", 6)):
        before, after = (statistics.median(s[what] for s in part) for part in (early, late))
        print(f"{what:21} {before:10.1f} -> {after:10.1f}")
        if after > before + tolerated:
            grown.append(f"{what} grew from {before:g} to {after:g}")
    return grown


def _median(samples: list[dict[str, Any]], name: str, what: str) -> float:
    return statistics.median(s["held"][name][what] for s in samples if name in s["held"])


def main() -> int:
    """Returns 0 if nothing grew and nothing was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument(
        "--home", type=Path, default=HOME, help="must be absent; removed after a run that found nothing"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder whatever the run found")
    options = parser.parse_args()
    if options.home.exists():
        parser.error(f"{options.home} exists, perhaps from a run that found something: remove it first")
    with running(options.home) as stack:
        stack.prepare()
        samples = work(stack, options.minutes)
        pids = [p for pid in stack.pids().values() for p in descendants(pid)]
    left = [f"{pid} {command_of(pid)}" for pid in pids if held_by([pid]).processes and command_of(pid)]
    print(f"{len(samples)} rounds of three jobs")
    faults = judge(samples) + [f"still runs: {line}" for line in left]
    print("\n".join(faults) or "nothing grew, nothing is left")
    if faults or options.keep:
        print(f"logs and data are in {options.home}")
    else:
        shutil.rmtree(options.home)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
