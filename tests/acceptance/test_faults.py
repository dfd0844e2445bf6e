"""What dies is replaced, what is cancelled stops, and no job is lost."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(600)]

LONG = {"epochs": 400, "early_stopping_patience": None}


def trainer_pid(service: Any, job_id: str) -> int:
    return int(service.get(f"/v1/jobs/{job_id}")["attempts"][-1]["trainer_pid"])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def in_training(service: Any, job_id: str) -> dict[str, Any]:
    return service.wait_for(
        job_id, lambda j: j["phase"] == "training" and ((j["progress"] or {}).get("step") or 0) > 3
    )


def gone(pid: int, *, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_running_job_is_cancelled_and_leaves_no_process(service: Any, dataset: dict[str, Any]) -> None:
    job = service.train(**LONG)
    in_training(service, job["id"])
    pid = trainer_pid(service, job["id"])
    asked = service.post(f"/v1/jobs/{job['id']}:cancel")
    assert asked["cancel_requested_at"] is not None
    ended = service.finished(job["id"], "cancelled")
    assert ended["attempts"][-1]["outcome"] == "cancelled"
    assert ended["result"] is None
    assert gone(pid)


def test_a_killed_trainer_is_replaced_and_resumes_from_its_checkpoint(
    service: Any, dataset: dict[str, Any]
) -> None:
    job = service.train(epochs=60, early_stopping_patience=None)
    service.wait_for(
        job["id"], lambda _: any(e["event"] == "checkpoint.durable" for e in service.events(job["id"]))
    )
    os.kill(trainer_pid(service, job["id"]), signal.SIGKILL)
    ended = service.finished(job["id"])
    assert [a["outcome"] for a in ended["attempts"]] == ["failed", "succeeded"]
    assert ended["attempts"][0]["error"]["code"] == "trainer_killed"
    assert "resumed" in [e["event"] for e in service.events(job["id"])]


def test_a_killed_worker_is_replaced_and_the_job_ends_well(service: Any, dataset: dict[str, Any]) -> None:
    job = service.train(epochs=60, early_stopping_patience=None)
    in_training(service, job["id"])
    trainer = trainer_pid(service, job["id"])
    os.kill(service.pid_of("worker"), signal.SIGKILL)
    assert gone(trainer), "no trainer outlives its worker"
    ended = service.finished(job["id"])
    assert ended["attempts"][0]["outcome"] == "lost"
    assert ended["attempts"][-1]["outcome"] == "succeeded"


def test_a_worker_told_to_stop_gives_its_job_back_without_costing_a_retry(
    service: Any, dataset: dict[str, Any]
) -> None:
    job = service.train(epochs=60, early_stopping_patience=None)
    in_training(service, job["id"])
    os.kill(service.pid_of("worker"), signal.SIGTERM)
    ended = service.finished(job["id"])
    assert [a["outcome"] for a in ended["attempts"]] == ["preempted", "succeeded"]
    assert "resumed" in [e["event"] for e in service.events(job["id"])]
