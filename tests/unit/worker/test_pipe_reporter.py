"""The trainer's reporter: whole lines over a pipe, throttled, and never in the way."""

import json
import math
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.ports import Artifact, Checkpoint, Progress, StoredObject
from worker.pipe_reporter import PipeReporter

STORED = StoredObject(uri="s3://b/k", sha256="0" * 64, num_bytes=3, media_type="text/plain")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for descriptor in (read_end, write_end):
        try:
            os.close(descriptor)
        except OSError:
            continue


def messages(read_end: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in os.read(read_end, 1_000_000).splitlines()]


def test_every_kind_of_report_is_one_line(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1700000000.5)
    reporter = PipeReporter(pipe[1])
    reporter.phase(JobPhase.TRAINING)
    reporter.metrics({"loss": 1.0}, step=1, epoch=0)
    reporter.event("resumed", step=4)
    reporter.checkpoint(Checkpoint(object=STORED, epoch=1, step=9, metrics={"val_loss": 2.0}))
    reporter.artifact(Artifact(name="a.txt", kind="report", object=STORED))
    assert messages(pipe[0]) == [
        {"type": "phase", "phase": "training", "at": 1700000000.5},
        {"type": "metrics", "values": {"loss": 1.0}, "step": 1, "epoch": 0},
        {"type": "event", "name": "resumed", "data": {"step": 4}},
        {
            "type": "checkpoint",
            "epoch": 1,
            "step": 9,
            "metrics": {"val_loss": 2.0},
            "uri": "s3://b/k",
            "sha256": "0" * 64,
            "num_bytes": 3,
            "at_epoch_end": True,
        },
        {
            "type": "artifact",
            "artifact": {
                "name": "a.txt",
                "kind": "report",
                "uri": "s3://b/k",
                "sha256": "0" * 64,
                "num_bytes": 3,
                "media_type": "text/plain",
                "facts": {},
            },
        },
    ]


def test_progress_tells_the_memory_that_the_trainer_holds(pipe: tuple[int, int]) -> None:
    PipeReporter(pipe[1]).progress(Progress(step=1, steps=1))
    [told] = [m["progress"]["memory_bytes"] for m in messages(pipe[0])]
    assert 10_000_000 < told < 1_000_000_000_000


def test_progress_is_throttled_but_its_last_step_is_told(pipe: tuple[int, int]) -> None:
    reporter = PipeReporter(pipe[1])
    for step in range(1, 101):
        reporter.progress(Progress(step=step, steps=100))
    told = [m["progress"]["step"] for m in messages(pipe[0])]
    assert told[0] == 1
    assert told[-1] == 100
    assert len(told) < 20


def test_what_is_not_finite_is_left_out(pipe: tuple[int, int]) -> None:
    reporter = PipeReporter(pipe[1])
    reporter.metrics({"loss": math.nan, "val_loss": math.inf}, step=1, epoch=0)
    reporter.metrics({"loss": math.nan, "lr": 0.5}, step=2, epoch=0)
    assert [m["values"] for m in messages(pipe[0])] == [{"lr": 0.5}]


def test_a_supervisor_that_is_gone_does_not_stop_the_job(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    PipeReporter(pipe[1]).event("anything")


def test_threads_do_not_mix_their_lines(pipe: tuple[int, int]) -> None:
    reporter = PipeReporter(pipe[1])
    threads = [
        threading.Thread(target=lambda n=n: [reporter.event(f"e{n}", text="x" * 200) for _ in range(20)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(m["name"] for m in messages(pipe[0])) == sorted(
        f"e{n}" for n in range(4) for _ in range(20)
    )


def test_a_request_to_stop_is_seen(pipe: tuple[int, int]) -> None:
    reporter = PipeReporter(pipe[1])
    assert reporter.stop_requested() is None
    reporter.request_stop("cancel")
    assert reporter.stop_requested() == "cancel"


def test_what_a_person_wants_to_read_is_in_the_log_as_well(pipe: tuple[int, int]) -> None:
    reporter = PipeReporter(pipe[1])
    with capture_logs() as lines:
        reporter.phase(JobPhase.TRAINING)
        reporter.metrics({"train_loss": 1.0}, step=1, epoch=1)
        reporter.metrics({"val_loss": 1.2345678, "val_bad": math.nan}, step=2, epoch=1)
        reporter.event("features_ready", cached=True)
        reporter.event("tracking_unavailable", message="away", event="a name that the log has for itself")
    assert lines == [
        {"event": "phase", "log_level": "info", "phase": "training"},
        {"event": "validated", "log_level": "info", "epoch": 1, "step": 2, "val_loss": 1.2346},
        {"event": "features_ready", "log_level": "info", "cached": True},
        {"event": "tracking_unavailable", "log_level": "warning", "message": "away"},
    ]
