"""Retention as the control plane runs it, and the worker's own folders."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError
from structlog.testing import capture_logs

from heimdall_core.database.catalogue_tables import IdempotencyRecord, Upload
from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Checkpoint, Job, JobAttempt, JobEvent, LogChunk
from heimdall_core.settings import DatabaseSettings, Settings
from heimdall_core.storage import S3Store
from worker.control import CONTROL_TASKS, ControlPlane, beat_schedule
from worker.reaper_hold import ReaperHold
from worker.retention import delete_local_parts
from worker.workspaces import WorkspaceSweeper

LONG_AGO = datetime.now(UTC) - timedelta(days=400)


class NoHints:
    """Sends none."""

    def hint(self) -> None:
        pass


@pytest.fixture
def plane(database: Database, settings: Settings) -> ControlPlane:
    return ControlPlane(database=database, hints=NoHints(), settings=settings, hold=ReaperHold(0.0))  # type: ignore[arg-type]


def run_retention(plane: ControlPlane) -> None:
    for task in CONTROL_TASKS:
        if "retain" in task.name or "sweep" in task.name:
            task.run(plane)


def add_job(database: Database, status: str = "succeeded", **values: Any) -> str:
    job_id = new_id("job")
    if status == "running":
        values |= {"lease_owner": "w", "lease_expires_at": datetime.now(UTC)}
    elif status in {"succeeded", "failed", "cancelled"}:
        values |= {"finished_at": LONG_AGO, "error": {"code": "x"} if status == "failed" else None}
    row = {"id": job_id, "kind": "train", "owner": "ann", "spec": {}, "status": status, **values}
    with database.transaction() as session:
        session.execute(insert(Job).values(**row))
    return job_id


def add_checkpoint(database: Database, store: S3Store, job_id: str, step: int, **values: Any) -> str:
    uri = f"s3://heimdall-models/jobs/{job_id}/a1/checkpoints/{step}.ckpt"
    stored = store.put_bytes(uri, b"x")
    row = {"id": new_id("ckpt"), "job_id": job_id, "attempt": 1, "uri": uri, "epoch": 1, "step": step}
    with database.transaction() as session:
        session.execute(insert(Checkpoint).values(**row, sha256=stored.sha256, num_bytes=1, **values))
    return uri


def test_every_rule_is_a_scheduled_task(settings: Settings) -> None:
    schedule = beat_schedule(settings.lease)
    assert set(schedule) == {task.name for task in CONTROL_TASKS}
    assert sum("retain" in name or "sweep" in name for name in schedule) == 7


def test_nothing_old_outlives_the_tasks(plane: ControlPlane, database: Database, store: S3Store) -> None:
    ended = add_job(database)
    retired = add_checkpoint(database, store, ended, 1, retired_at=LONG_AGO)
    newest = add_checkpoint(database, store, ended, 2)
    litter = f"s3://heimdall-models/jobs/{ended}/a2/x"
    uploaded = "s3://heimdall-raw-iq/uploads/upl_1/0/x"
    for uri in (litter, uploaded):
        store.put_bytes(uri, b"x")
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    with database.transaction() as session:
        session.add(
            JobAttempt(
                job_id=ended,
                number=2,
                worker="w",
                host="h",
                boot_id="b",
                outcome="lost",
                ended_at=two_days_ago,
            )
        )
        for number in (1, 2, 3):
            session.add(LogChunk(job_id=ended, attempt=1, number=number, content="x"))
            session.add(JobEvent(job_id=ended, name=f"event {number}"))
        retired_at = LONG_AGO.isoformat()
        files = [{"name": "x", "uri": uploaded, "num_bytes": 1, "sha256": None, "retired_at": retired_at}]
        session.add(Upload(id="upl_1", owner="ann", files=files, created_at=LONG_AGO))
        session.add(
            IdempotencyRecord(
                owner="ann", key="k", request_hash="", status_code=1, headers={}, body={}, created_at=LONG_AGO
            )
        )
    with capture_logs() as logs:
        run_retention(plane)
    assert {(line["concern"]) for line in logs if line["event"] == "retention"} == {
        "checkpoints",
        "history",
        "uploads",
        "answers",
        "litter",
    }
    left = store.list_sizes(f"s3://heimdall-models/jobs/{ended}/")
    assert set(left) == {newest}
    assert retired not in left
    assert store.list_sizes("s3://heimdall-raw-iq/uploads/upl_1/") == {}
    with database.transaction() as session:
        assert session.query(LogChunk).count() == 0
        assert session.query(JobEvent).count() == 2
        assert session.query(IdempotencyRecord).count() == 0
        assert "deleted_at" in session.get_one(Upload, "upl_1").files[0]


def test_a_run_goes_on_beyond_one_batch(plane: ControlPlane, database: Database) -> None:
    ended = add_job(database)
    rows = [{"job_id": ended, "attempt": 1, "number": number, "content": "x"} for number in range(4500)]
    with database.transaction() as session:
        session.execute(insert(LogChunk), rows)
    run_retention(plane)
    with database.transaction() as session:
        assert session.query(LogChunk).count() == 0


def test_an_idle_service_says_nothing(plane: ControlPlane) -> None:
    with capture_logs() as logs:
        run_retention(plane)
    assert [line for line in logs if line["event"] == "retention"] == []


def test_parts_that_a_killed_local_server_left_go_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "s3" / "heimdall-models" / "jobs"
    folder.mkdir(parents=True)
    for name in (".rclone_temp_multipart_old", ".rclone_temp_multipart_new", "model.onnx"):
        (folder / name).write_bytes(b"x")
    for name in (".rclone_temp_multipart_old", "model.onnx"):
        os.utime(folder / name, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    assert delete_local_parts(tmp_path) == 1
    assert {path.name for path in folder.iterdir()} == {".rclone_temp_multipart_new", "model.onnx"}
    assert delete_local_parts(tmp_path / "none") == 0


def make_folder(home: Path, name: str) -> Path:
    folder = home / "work" / name
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"x")
    return folder


def test_only_folders_of_jobs_that_ended_or_nobody_knows_go(database: Database, tmp_path: Path) -> None:
    folders = {
        status: make_folder(tmp_path, add_job(database, status))
        for status in ("queued", "running", "paused", "succeeded", "failed", "cancelled")
    }
    unknown = make_folder(tmp_path, new_id("job"))
    foreign = make_folder(tmp_path, "notes")
    assert WorkspaceSweeper(tmp_path, database).sweep() == 4
    assert {status for status, folder in folders.items() if folder.exists()} == {
        "queued",
        "running",
        "paused",
    }
    assert (unknown.exists(), foreign.exists()) == (False, True)


def test_a_link_in_the_place_of_a_folder_is_not_followed(database: Database, tmp_path: Path) -> None:
    target = make_folder(tmp_path / "elsewhere", "data")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / new_id("job")).symlink_to(target)
    assert WorkspaceSweeper(tmp_path, database).sweep() == 0
    assert (target / "last.ckpt").exists()


def test_a_sweep_is_due_at_the_start_and_then_now_and_then(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert WorkspaceSweeper(tmp_path / "file", database).sweep() == 0
    sweeper = WorkspaceSweeper(tmp_path, database, every_seconds=3600)
    assert sweeper.sweep_if_due() == 0, "there is no folder yet"
    make_folder(tmp_path, new_id("job"))
    assert sweeper.sweep_if_due() == 0
    eager = WorkspaceSweeper(tmp_path, database, every_seconds=0)
    assert eager.sweep_if_due() == 1


def test_a_database_that_is_away_deletes_nothing(tmp_path: Path) -> None:
    away = Database(
        DatabaseSettings(url="postgresql+psycopg://n:n@127.0.0.1:9/none", connect_timeout_seconds=1)
    )
    folder = make_folder(tmp_path, new_id("job"))
    sweeper = WorkspaceSweeper(tmp_path, away)
    for _ in range(2):
        with pytest.raises(SQLAlchemyError):
            sweeper.sweep_if_due()
    assert folder.exists()
    away.dispose()
