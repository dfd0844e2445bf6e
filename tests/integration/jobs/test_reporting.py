"""What an attempt reports reaches the rows exactly once, and only while it holds the job."""

from collections.abc import Callable

import pytest

from heimdall_core.database.engine import Database
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import Claim, LeaseLost
from heimdall_core.jobs.queries import (
    find_job,
    job_document,
    list_artifacts,
    newest_checkpoint,
)
from heimdall_core.jobs.reported import list_metrics, read_log
from heimdall_core.jobs.reporting import Report, write_report
from tests.integration.histories import list_events

CHECKPOINT = {
    "uri": "s3://b/last.ckpt",
    "sha256": "0" * 64,
    "num_bytes": 3,
    "epoch": 1,
    "step": 20,
    "metrics": {},
}


@pytest.fixture
def held(submit: Callable[..., str], claim: Callable[..., Claim | None]) -> Claim:
    submit()
    taken = claim()
    assert taken is not None
    return taken


def write(database: Database, claim: Claim, report: Report, number: int) -> None:
    with database.transaction() as session:
        write_report(session, claim, report, number=number)


def full_report() -> Report:
    return Report(
        phase="training",
        progress={"percent": 10.0},
        points={("val_loss", 10): (0, 2.0), ("val_loss", 20): (1, 1.5)},
        events=[("first_step", {"seconds": 0.1})],
        checkpoints=[CHECKPOINT],
        log=["one\n", "two\n"],
    )


def test_a_report_written_twice_counts_once(database: Database, held: Claim) -> None:
    write(database, held, full_report(), 1)
    write(database, held, full_report(), 1)
    with database.transaction() as session:
        names = [e["event"] for e in list_events(session, held.job_id)]
        assert names == ["job.queued", "job.started", "first_step"]
        log = read_log(session, held.job_id)
        assert (log["attempt"], log["content"], log["next_after"]) == (1, "one\ntwo\n", 1)
        checkpoint = newest_checkpoint(session, held.job_id)
        assert checkpoint is not None
        assert checkpoint.step == 20


def test_the_document_shows_the_newest_of_each_metric(database: Database, held: Claim) -> None:
    write(database, held, full_report(), 1)
    with database.transaction() as session:
        document = job_document(session, find_job(session, held.job_id, owner="alice"))
    assert document["metrics"] == {"val_loss": 1.5}
    assert document["phase"] == "training"
    assert document["progress"] == {"percent": 10.0}
    assert document["queue"] is None
    assert [a["number"] for a in document["attempts"]] == [1]


def test_a_replayed_step_replaces_its_point(database: Database, held: Claim) -> None:
    write(database, held, full_report(), 1)
    write(database, held, Report(points={("val_loss", 20): (1, 1.25)}), 2)
    with database.transaction() as session:
        points = list_metrics(session, held.job_id, names=["val_loss"])["val_loss"]
    assert [(p["step"], p["value"]) for p in points] == [(10, 2.0), (20, 1.25)]


def test_a_report_after_the_end_is_refused_and_leaves_nothing(database: Database, held: Claim) -> None:
    with database.transaction() as session:
        finishing.finish_cancelled(session, held, exit_code=75)
    with pytest.raises(LeaseLost):
        write(database, held, full_report(), 1)
    with database.transaction() as session:
        assert list_metrics(session, held.job_id) == {}
        assert read_log(session, held.job_id)["content"] == ""


def test_success_publishes_artifacts_and_result_together(database: Database, held: Claim) -> None:
    artifact = {
        "name": "model.onnx",
        "kind": "onnx",
        "uri": "s3://b/model.onnx",
        "sha256": "1" * 64,
        "num_bytes": 7,
        "media_type": "application/octet-stream",
        "facts": {},
    }

    def refuse(*_: object) -> dict[str, object]:
        raise ValueError("publication failed")

    with pytest.raises(ValueError, match="publication failed"), database.transaction() as session:
        finishing.succeed(session, held, artifacts=[artifact], publish=refuse)
    with database.transaction() as session:
        assert list_artifacts(session, held.job_id) == []
    with database.transaction() as session:
        finishing.succeed(session, held, artifacts=[artifact], publish=lambda *_: {"metrics": {}})
    with database.transaction() as session:
        job = find_job(session, held.job_id, owner=None)
        assert (job.status, job.result) == ("succeeded", {"metrics": {}})
        assert [a.name for a in list_artifacts(session, held.job_id)] == ["model.onnx"]
