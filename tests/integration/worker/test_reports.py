"""Whatever a trainer says is written, or given up: it never holds its slot."""

import json
from typing import Any

import pytest
from sqlalchemy import func
from sqlalchemy.exc import OperationalError

from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.database.engine import Database
from heimdall_core.domain.spec import ImportJobSpec
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.queries import list_checkpoints
from heimdall_core.jobs.reported import read_log
from heimdall_core.jobs.submission import submit_job
from tests.integration.histories import list_events
from worker import reports as module
from worker.reports import TrainerReports

IDENTITY = WorkerIdentity(name="worker@tests", host="tests", boot_id="boot", has_gpu=False)
CHECKPOINT = {
    "type": "checkpoint",
    "epoch": 1,
    "step": 2,
    "metrics": {},
    "uri": "s3://b/k",
    "sha256": "a" * 64,
    "num_bytes": 1,
    "at_epoch_end": True,
}


@pytest.fixture
def claim(database: Database) -> Claim:
    with database.transaction() as session:
        session.add(Upload(id="upl_1", owner="alice", files=[], completed_at=func.now()))
        session.flush()
        submit_job(session, ImportJobSpec(kind="import", upload_id="upl_1"), owner="alice")
    with database.transaction() as session:
        taken = claim_job(session, IDENTITY, lease_seconds=60)
    assert taken is not None
    return taken


@pytest.fixture
def reports(database: Database, claim: Claim) -> TrainerReports:
    return TrainerReports(database, claim, log_limit_bytes=10_000)


def say(reports: TrainerReports, **message: Any) -> None:
    reports.take_events(json.dumps(message).encode() + b"\n")


def test_names_that_no_row_can_hold_are_written_with_a_mark_in_their_place(
    database: Database, claim: Claim, reports: TrainerReports
) -> None:
    say(reports, type="event", name="file_refused", data={"file": "citt\ud8e0.npy", "code": "a\0b"})
    reports.take_log(b"half a line \0 and more\n")
    assert reports.flush()
    with database.transaction() as session:
        told = list_events(session, claim.job_id)[-1]
        assert told["data"] == {"file": "citt\ufffd.npy", "code": "a\ufffdb"}
        assert "half a line \ufffd and more" in read_log(session, claim.job_id)["content"]


def test_a_report_that_the_database_refuses_is_given_up_and_its_checkpoints_are_kept(
    database: Database, claim: Claim, reports: TrainerReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "storable", lambda value: value)
        say(reports, type="event", name="odd", data={"text": "a\0b"})
    say(reports, **CHECKPOINT)
    assert reports.flush(), "it does not wait for a database that is there"
    assert reports.flush()
    with database.transaction() as session:
        assert [c.step for c in list_checkpoints(session, claim.job_id)] == [2]
        assert "report_refused" in [e["event"] for e in list_events(session, claim.job_id)]


def test_a_database_that_is_away_is_waited_for(
    database: Database, claim: Claim, reports: TrainerReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("select 1", None, ConnectionError("away"))

    say(reports, type="event", name="kept", data={})
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_report", away)
        assert not reports.flush()
    assert reports.flush()
    with database.transaction() as session:
        assert [e["event"] for e in list_events(session, claim.job_id)].count("kept") == 1
