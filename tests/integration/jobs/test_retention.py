"""What is deleted, what is kept, and that a crash between two steps leaves nothing dangling."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, literal, select, update

from heimdall_core.catalogue.uploads import UploadCompletion, complete_upload
from heimdall_core.database.catalogue_tables import IdempotencyRecord, Upload
from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import (
    Artifact,
    Checkpoint,
    Job,
    JobAttempt,
    JobEvent,
    LogChunk,
    MetricPoint,
)
from heimdall_core.domain.errors import Conflict, NotFound, StorageUnavailable
from heimdall_core.domain.spec import ExportJobSpec, ExportSource, ImportJobSpec
from heimdall_core.jobs.claiming import Claim
from heimdall_core.jobs.queries import list_checkpoints, newest_checkpoint
from heimdall_core.jobs.reported import read_log
from heimdall_core.jobs.retention import (
    delete_litter,
    delete_old_answers,
    delete_old_events,
    delete_old_logs,
    delete_retired_checkpoints,
    retire_checkpoints,
)
from heimdall_core.jobs.submission import submit_job
from heimdall_core.jobs.upload_retention import delete_retired_uploads, retire_uploads
from heimdall_core.settings import Settings
from heimdall_core.storage import S3Store
from tests.integration.histories import list_events

Submit = Callable[..., str]
ClaimNext = Callable[..., Claim | None]
BUCKET = "heimdall-models"
RAW = "heimdall-raw-iq"


class Crash(Exception):
    """The process ends here."""


class StoreThatDies(S3Store):
    """Deletes as many objects as it may, then ends the process: before or after the next one."""

    def __init__(self, settings: Settings, *, num_deletions: int, after: bool) -> None:
        super().__init__(settings.storage)
        self._left, self._after = num_deletions, after

    def delete(self, uri: str) -> None:
        if self._left == 0 and not self._after:
            raise Crash
        super().delete(uri)
        if self._left == 0:
            raise Crash
        self._left -= 1

    def delete_all(self, uris: Any) -> None:
        for uri in list(uris):
            self.delete(uri)


class StoreThatIsAway(S3Store):
    """Answers nothing."""

    def delete(self, uri: str) -> None:
        raise StorageUnavailable(f"{uri}: connection refused")

    def list_sizes(self, prefix: str) -> dict[str, int]:
        raise StorageUnavailable(f"{prefix}: connection refused")


def add_checkpoints(
    database: Database, store: S3Store, job_id: str, losses: Sequence[float | None], **values: Any
) -> list[str]:
    """One for each loss, ten steps apart; returns their URIs."""
    uris = []
    with database.transaction() as session:
        for number, loss in enumerate(losses, start=1):
            uri = f"s3://{BUCKET}/jobs/{job_id}/a1/checkpoints/step-{number * 10:08d}.ckpt"
            stored = store.put_bytes(uri, f"{job_id} {number}".encode())
            checkpoint = {
                "id": new_id("ckpt"),
                "job_id": job_id,
                "attempt": 1,
                "uri": uri,
                "sha256": stored.sha256,
                "num_bytes": stored.num_bytes,
                "epoch": number,
                "step": number * 10,
                "metrics": {} if loss is None else {"val_loss": loss},
            }
            session.execute(insert(Checkpoint).values(**{**checkpoint, **values}))
            uris.append(uri)
    return uris


def steps(database: Database, job_id: str) -> list[int]:
    with database.transaction() as session:
        return sorted(checkpoint.step for checkpoint in list_checkpoints(session, job_id))


def num_rows(database: Database, table: Any = Checkpoint) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def retire(database: Database, num_best: int = 1) -> int:
    with database.transaction() as session:
        return retire_checkpoints(session, num_best=num_best)


def objects(store: S3Store, job_id: str) -> set[str]:
    return set(store.list_sizes(f"s3://{BUCKET}/jobs/{job_id}/"))


def set_job(database: Database, job_id: str, **values: Any) -> None:
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def end_job(database: Database, job_id: str, *, status: str = "succeeded", days_ago: float = 0.0) -> None:
    ended: dict[str, Any] = {"status": status, "finished_at": ago(days_ago)}
    if status == "failed":
        ended["error"] = {"code": "x"}
    set_job(database, job_id, lease_owner=None, lease_expires_at=None, **ended)


def ago(days: float) -> Any:
    return func.now() - literal(timedelta(days=days))


@pytest.fixture
def running(submit: Submit, claim: ClaimNext) -> str:
    """A job that runs."""
    submit()
    taken = claim()
    assert taken is not None
    return taken.job_id


# Checkpoints


def test_the_newest_and_the_best_stay_of_a_running_job_too(
    database: Database, store: S3Store, running: str
) -> None:
    uris = add_checkpoints(database, store, running, [5.0, 2.0, 4.0, 3.0, 6.0, 7.0])
    assert retire(database, num_best=2) == 3
    assert steps(database, running) == [20, 40, 60]
    assert objects(store, running) == set(uris), "out of sight first"
    assert delete_retired_checkpoints(database, store, grace_seconds=0) == 3
    assert objects(store, running) == {uris[1], uris[3], uris[5]}
    assert num_rows(database) == 3
    assert retire(database, num_best=2) == 0


def test_each_job_keeps_its_own(database: Database, store: S3Store, submit: Submit) -> None:
    first, second = submit(), submit()
    add_checkpoints(database, store, first, [1.0, 2.0, 3.0])
    add_checkpoints(database, store, second, [9.0, 8.0, 7.0])
    retire(database)
    assert steps(database, first) == [10, 30]
    assert steps(database, second) == [30]


@pytest.mark.parametrize(("num_best", "kept"), [(0, [40]), (3, [10, 20, 30, 40])])
def test_how_many_of_the_best_stay_is_a_setting(
    database: Database, store: S3Store, running: str, num_best: int, kept: list[int]
) -> None:
    add_checkpoints(database, store, running, [1.0, 2.0, 3.0, 4.0])
    retire(database, num_best)
    assert steps(database, running) == kept


def test_checkpoints_without_a_loss_are_never_the_best(
    database: Database, store: S3Store, running: str
) -> None:
    add_checkpoints(database, store, running, [None, 2.0, None, None])
    retire(database, num_best=3)
    assert steps(database, running) == [20, 40]


def test_checkpoints_within_an_epoch_that_repeat_its_loss_take_no_place_of_the_best(
    database: Database, store: S3Store, running: str
) -> None:
    add_checkpoints(database, store, running, [1.0])
    repeated = [None, 1.0, 1.0, 2.0, 3.0]
    for number, loss in enumerate(repeated, start=1):
        if loss is not None:
            values = {"step": number * 10, "at_epoch_end": loss != 1.0}
            add_checkpoints(database, store, running, [loss], **values)
    retire(database, num_best=2)
    assert steps(database, running) == [10, 40, 50]


def test_the_newest_between_two_epochs_stays_for_an_attempt_with_a_smaller_batch(
    database: Database, store: S3Store, running: str
) -> None:
    add_checkpoints(database, store, running, [3.0, 2.0])
    add_checkpoints(database, store, running, [2.0, 2.0, 2.0], at_epoch_end=False)
    with database.transaction() as session:
        session.execute(update(Checkpoint).where(~Checkpoint.at_epoch_end).values(step=Checkpoint.step + 100))
    retire(database, num_best=0)
    assert steps(database, running) == [20, 130]
    with database.transaction() as session:
        kept = newest_checkpoint(session, running, at_epoch_end=True)
    assert kept is not None


@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_what_another_job_goes_on_from_is_kept_until_that_job_has_ended(
    database: Database, store: S3Store, submit: Submit, claim: ClaimNext, status: str
) -> None:
    old = submit()
    end_job(database, old, status="cancelled")
    uris = add_checkpoints(database, store, old, [5.0, 4.0, 3.0])
    other = submit()
    set_job(database, other, inputs={"resume_from": {"uri": uris[0]}})
    if status == "running":
        assert claim() is not None
    elif status == "paused":
        set_job(database, other, status="paused")
    assert retire(database) == 1
    assert steps(database, old) == [10, 30]
    end_job(database, other)
    assert retire(database) == 1
    assert steps(database, old) == [30]


def test_weights_that_are_or_were_exported_are_kept(
    database: Database, store: S3Store, submit: Submit
) -> None:
    job_id = submit()
    uris = add_checkpoints(database, store, job_id, [5.0, 4.0, 3.0, 2.0])
    exports = [submit(), submit()]
    for export, uri in zip(exports, uris, strict=False):
        set_job(database, export, kind="export", inputs={"weights": {"uri": uri}})
    retire(database)
    assert steps(database, job_id) == [10, 20, 40]
    end_job(database, exports[0], status="failed")
    end_job(database, exports[1])
    retire(database)
    assert steps(database, job_id) == [20, 40], "a model that was registered can be exported again"


def test_one_that_was_named_as_it_was_retired_is_not_deleted(
    database: Database, store: S3Store, submit: Submit
) -> None:
    old, other = submit(), submit()
    uris = add_checkpoints(database, store, old, [5.0, 4.0])
    assert retire(database) == 1
    set_job(database, other, inputs={"resume_from": {"uri": uris[0]}})
    assert delete_retired_checkpoints(database, store, grace_seconds=0) == 0
    assert objects(store, old) == set(uris)
    end_job(database, other)
    assert delete_retired_checkpoints(database, store, grace_seconds=0) == 1


def test_nothing_is_deleted_that_was_in_sight_a_moment_ago(
    database: Database, store: S3Store, running: str
) -> None:
    uris = add_checkpoints(database, store, running, [2.0, 1.0])
    retire(database)
    assert delete_retired_checkpoints(database, store) == 0
    assert objects(store, running) == set(uris)


@pytest.mark.parametrize("after", [False, True], ids=["before-the-object-is-gone", "before-the-row-is-gone"])
def test_a_crash_leaves_no_visible_checkpoint_without_its_object(
    database: Database, store: S3Store, settings: Settings, running: str, after: bool
) -> None:
    uris = add_checkpoints(database, store, running, [5.0, 4.0, 3.0, 2.0, 1.0])
    retire(database)
    dying = StoreThatDies(settings, num_deletions=2, after=after)
    with pytest.raises(Crash):
        delete_retired_checkpoints(database, dying, grace_seconds=0)
    assert num_rows(database) == 3, "each row goes after its object, not later"
    with database.transaction() as session:
        named = set(session.scalars(select(Checkpoint.uri)))
    assert objects(store, running) <= named
    assert len(objects(store, running)) == (2 if after else 3)
    assert steps(database, running) == [50]
    assert delete_retired_checkpoints(database, store, grace_seconds=0) == 2
    assert objects(store, running) == {uris[-1]}
    assert num_rows(database) == 1


def test_a_store_that_is_away_keeps_the_rows_for_the_next_run(
    database: Database, store: S3Store, settings: Settings, running: str
) -> None:
    add_checkpoints(database, store, running, [2.0, 1.0])
    retire(database)
    with pytest.raises(StorageUnavailable):
        delete_retired_checkpoints(database, StoreThatIsAway(settings.storage), grace_seconds=0)
    assert delete_retired_checkpoints(database, store, grace_seconds=0) == 1


def test_two_runs_at_once_keep_the_same(database: Database, store: S3Store, submit: Submit) -> None:
    jobs = [submit() for _ in range(5)]
    for job_id in jobs:
        add_checkpoints(database, store, job_id, [1.0, 5.0, 4.0, 3.0])
    start = threading.Barrier(4)

    def run() -> None:
        start.wait(timeout=30)
        retire(database)
        delete_retired_checkpoints(database, store, grace_seconds=0)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run) for _ in range(4)]:
            done.result(timeout=60)
    retire(database)
    delete_retired_checkpoints(database, store, grace_seconds=0)
    for job_id in jobs:
        assert steps(database, job_id) == [10, 40]
        assert len(objects(store, job_id)) == 2
    assert num_rows(database) == 10


def test_a_run_is_bounded_and_the_next_goes_on(database: Database, store: S3Store, running: str) -> None:
    add_checkpoints(database, store, running, [5.0, 4.0, 3.0, 2.0, 1.0])
    with database.transaction() as session:
        assert retire_checkpoints(session, num_best=1, limit=3) == 3
    assert retire(database) == 1
    assert delete_retired_checkpoints(database, store, grace_seconds=0, limit=3) == 3
    assert delete_retired_checkpoints(database, store, grace_seconds=0, limit=3) == 1


def test_a_retired_checkpoint_is_exported_no_more(database: Database, store: S3Store, running: str) -> None:
    add_checkpoints(database, store, running, [2.0, 1.0])
    with database.transaction() as session:
        first, newest = session.scalars(select(Checkpoint.id).order_by(Checkpoint.step))
    retire(database)
    for checkpoint_id, is_found in ((newest, True), (first, False)):
        spec = ExportJobSpec(kind="export", source=ExportSource(checkpoint_id=checkpoint_id))
        with nullcontext() if is_found else pytest.raises(NotFound), database.transaction() as session:
            submit_job(session, spec, owner="alice")


# Logs, events, answers


def write_history(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        for number in (1, 2, 3):
            session.add(LogChunk(job_id=job_id, attempt=1, number=number, content=f"line {number}\n"))
            session.add(MetricPoint(job_id=job_id, name="loss", step=number, epoch=0, value=1.0, attempt=1))
            session.add(JobEvent(job_id=job_id, attempt=1, name=f"step {number}"))


def event_names(database: Database, job_id: str) -> list[str]:
    with database.transaction() as session:
        return [event["event"] for event in list_events(session, job_id)]


def log_of(database: Database, job_id: str) -> str:
    with database.transaction() as session:
        return str(read_log(session, job_id, attempt=1)["content"])


def test_old_logs_go_and_old_events_but_the_first_and_the_last(database: Database, submit: Submit) -> None:
    old, recent, live = submit(), submit(), submit()
    for job_id in (old, recent, live):
        write_history(database, job_id)
    end_job(database, old, days_ago=11)
    end_job(database, recent, status="failed", days_ago=9)
    set_job(database, live, created_at=ago(99))
    with database.transaction() as session:
        session.execute(update(LogChunk).values(created_at=ago(99)))
        session.execute(update(JobEvent).values(created_at=ago(99)))
        assert delete_old_logs(session, days=10) == 3
        assert delete_old_events(session, days=10) == 2
        assert delete_old_events(session, days=10) == 0
    assert event_names(database, old) == ["job.queued", "step 3"]
    assert log_of(database, old) == ""
    for job_id in (recent, live):
        assert len(event_names(database, job_id)) == 4
        assert log_of(database, job_id) == "line 1\nline 2\nline 3\n"
    assert num_rows(database, MetricPoint) == 9, "curves stay"


def test_history_goes_in_bounded_runs(database: Database, submit: Submit) -> None:
    job_id = submit()
    write_history(database, job_id)
    end_job(database, job_id, days_ago=11)
    with database.transaction() as session:
        assert [delete_old_logs(session, days=10, limit=2) for _ in range(3)] == [2, 1, 0]
        assert [delete_old_events(session, days=10, limit=1) for _ in range(3)] == [1, 1, 0]


def test_rows_that_another_run_holds_are_passed_over(database: Database, submit: Submit) -> None:
    job_id = submit()
    write_history(database, job_id)
    end_job(database, job_id, days_ago=11)
    with database.transaction() as first, database.transaction() as second:
        assert delete_old_logs(first, days=10, limit=2) == 2
        assert delete_old_logs(second, days=10) == 1
        assert delete_old_events(first, days=10, limit=1) == 1
        assert delete_old_events(second, days=10) == 1


def test_old_answers_are_forgotten(database: Database) -> None:
    with database.transaction() as session:
        for key, hours in (("old", 25), ("new", 23)):
            session.add(
                IdempotencyRecord(
                    owner="ann",
                    key=key,
                    request_hash="",
                    status_code=202,
                    headers={},
                    body={},
                    created_at=ago(hours / 24),
                )
            )
    with database.transaction() as session:
        assert delete_old_answers(session, hours=24) == 1
        assert session.scalars(select(IdempotencyRecord.key)).all() == ["new"]


# Uploads


def add_upload(
    database: Database, store: S3Store, *, days_ago: float, completed: bool = True, **values: Any
) -> str:
    upload_id = new_id("upl")
    files = []
    for number in range(2):
        uri = f"s3://{RAW}/uploads/{upload_id}/{number}/x.sigmf"
        store.put_bytes(uri, b"x")
        files.append({"name": f"{number}.sigmf", "uri": uri, "num_bytes": 1, "sha256": None})
    moments = {"created_at": ago(days_ago), "completed_at": ago(days_ago) if completed else None}
    with database.transaction() as session:
        row = {"id": upload_id, "owner": "alice", "files": files, **moments, **values}
        session.execute(insert(Upload).values(**row))
    return upload_id


def add_import(database: Database, upload_id: str, *, ended_days_ago: float | None) -> str:
    job_id = new_id("job")
    with database.transaction() as session:
        session.add(
            Job(id=job_id, kind="import", owner="alice", spec={"kind": "import", "upload_id": upload_id})
        )
    if ended_days_ago is not None:
        end_job(database, job_id, days_ago=ended_days_ago)
    return job_id


def sweep_uploads(database: Database, store: S3Store) -> int:
    with database.transaction() as session:
        retire_uploads(session, days=7)
    return delete_retired_uploads(database, store, bucket=RAW, days=7, grace_seconds=0)


def files_of(store: S3Store, upload_id: str) -> int:
    return len(store.list_sizes(f"s3://{RAW}/uploads/{upload_id}/"))


def read_upload(database: Database, upload_id: str) -> Upload:
    with database.transaction() as session:
        return session.get_one(Upload, upload_id)


def test_uploaded_files_go_a_while_after_their_import_has_ended(database: Database, store: S3Store) -> None:
    imported = add_upload(database, store, days_ago=20)
    add_import(database, imported, ended_days_ago=8)
    fresh = add_upload(database, store, days_ago=20)
    add_import(database, fresh, ended_days_ago=6)
    assert sweep_uploads(database, store) == 1
    assert (files_of(store, imported), files_of(store, fresh)) == (0, 2)
    row = read_upload(database, imported)
    assert [file["name"] for file in row.files] == ["0.sigmf", "1.sigmf"], "what was uploaded stays known"
    assert all(file["retired_at"] <= file["deleted_at"] for file in row.files)
    assert "retired_at" not in read_upload(database, fresh).files[0]
    assert sweep_uploads(database, store) == 0


def test_what_nobody_completed_goes_too(database: Database, store: S3Store) -> None:
    forgotten = add_upload(database, store, days_ago=8, completed=False)
    open_ = add_upload(database, store, days_ago=6, completed=False)
    assert sweep_uploads(database, store) == 1
    assert (files_of(store, forgotten), files_of(store, open_)) == (0, 2)


def test_files_that_an_import_needs_are_never_deleted(database: Database, store: S3Store) -> None:
    upload_id = add_upload(database, store, days_ago=99)
    add_import(database, upload_id, ended_days_ago=50)
    live = add_import(database, upload_id, ended_days_ago=None)
    assert sweep_uploads(database, store) == 0
    end_job(database, live, status="failed", days_ago=1)
    assert sweep_uploads(database, store) == 0, "it can be tried again for a while"
    set_job(database, live, error={"code": "x"})
    assert files_of(store, upload_id) == 2


def test_an_import_that_came_as_the_files_were_retired_still_has_them(
    database: Database, store: S3Store
) -> None:
    upload_id = add_upload(database, store, days_ago=99)
    with database.transaction() as session:
        assert retire_uploads(session, days=7) == 1
    assert delete_retired_uploads(database, store, bucket=RAW, days=7) == 0, "not at once"
    add_import(database, upload_id, ended_days_ago=None)
    assert delete_retired_uploads(database, store, bucket=RAW, days=7, grace_seconds=0) == 0
    assert files_of(store, upload_id) == 2


@pytest.mark.parametrize("delete", [False, True], ids=["retired", "deleted"])
def test_a_later_import_is_refused_and_told_what_to_do(
    database: Database, store: S3Store, delete: bool
) -> None:
    imported = add_upload(database, store, days_ago=99)
    forgotten = add_upload(database, store, days_ago=99, completed=False)
    with database.transaction() as session:
        assert retire_uploads(session, days=7) == 2
    if delete:
        assert delete_retired_uploads(database, store, bucket=RAW, days=7, grace_seconds=0) == 2
    spec = ImportJobSpec(kind="import", upload_id=imported)
    with pytest.raises(Conflict) as refusal, database.transaction() as session:
        submit_job(session, spec, owner="alice")
    assert (refusal.value.stable_code, bool(refusal.value.hint)) == ("upload_expired", True)
    with pytest.raises(Conflict) as refusal, database.transaction() as session:
        complete_upload(session, forgotten, UploadCompletion(), owner="alice", submit=submit_job)
    assert refusal.value.stable_code == "upload_expired"
    assert read_upload(database, forgotten).completed_at is None


def test_the_platforms_own_objects_are_not_ours_to_delete(database: Database, store: S3Store) -> None:
    upload_id = add_upload(database, store, days_ago=99, options={"platform": {"sessions": []}})
    assert sweep_uploads(database, store) == 0
    assert "retired_at" not in read_upload(database, upload_id).files[0]


def test_a_crash_between_the_files_of_an_upload_is_made_good(
    database: Database, store: S3Store, settings: Settings
) -> None:
    upload_id = add_upload(database, store, days_ago=99)
    with pytest.raises(Crash):
        sweep_uploads(database, StoreThatDies(settings, num_deletions=0, after=True))
    assert files_of(store, upload_id) == 1
    assert "retired_at" in read_upload(database, upload_id).files[0]
    assert "deleted_at" not in read_upload(database, upload_id).files[0]
    assert sweep_uploads(database, store) == 1
    assert files_of(store, upload_id) == 0


def test_two_runs_over_the_same_uploads_do_no_harm(database: Database, store: S3Store) -> None:
    uploads = [add_upload(database, store, days_ago=99) for _ in range(4)]
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(sweep_uploads, database, store) for _ in range(3)]:
            done.result(timeout=60)
    assert [files_of(store, upload_id) for upload_id in uploads] == [0] * 4


# Litter


def end_attempt(database: Database, job_id: str, *, outcome: str, days_ago: float, number: int = 1) -> None:
    values = {"outcome": outcome, "ended_at": ago(days_ago)}
    key = {"job_id": job_id, "number": number}
    with database.transaction() as session:
        session.execute(insert(JobAttempt).values(**key, **values, worker="w", host="h", boot_id="b"))


def litter(store: S3Store, job_id: str, attempt: int = 1) -> str:
    uri = f"s3://{BUCKET}/jobs/{job_id}/a{attempt}/checkpoints/unrecorded.ckpt"
    store.put_bytes(uri, b"x")
    return uri


def sweep(database: Database, store: S3Store) -> int:
    return delete_litter(database, store, bucket=BUCKET)


def test_what_no_row_names_goes_a_day_after_an_attempt_without_success(
    database: Database, store: S3Store, submit: Submit
) -> None:
    job_id = submit()
    uris = add_checkpoints(database, store, job_id, [1.0])
    litter(store, job_id)
    other = litter(store, job_id, attempt=10)
    end_attempt(database, job_id, outcome="failed", days_ago=2)
    assert sweep(database, store) == 1
    assert objects(store, job_id) == {*uris, other}, "a1 is not a10"
    assert sweep(database, store) == 0


@pytest.mark.parametrize(
    ("outcome", "days_ago"), [("succeeded", 2.0), ("failed", 0.9), ("preempted", 0.9), ("lost", 30.0)]
)
def test_success_stays_whole_and_recent_attempts_alone(
    database: Database, store: S3Store, submit: Submit, outcome: str, days_ago: float
) -> None:
    job_id = submit()
    uri = litter(store, job_id)
    end_attempt(database, job_id, outcome=outcome, days_ago=days_ago)
    assert sweep(database, store) == 0
    assert objects(store, job_id) == {uri}


def test_a_running_attempt_keeps_everything(database: Database, store: S3Store, running: str) -> None:
    uri = litter(store, running)
    with database.transaction() as session:
        session.execute(update(JobAttempt).values(started_at=ago(30)))
    assert sweep(database, store) == 0
    assert objects(store, running) == {uri}


def test_a_recorded_artifact_and_a_retired_checkpoint_are_not_litter(
    database: Database, store: S3Store, submit: Submit
) -> None:
    job_id = submit()
    uris = add_checkpoints(database, store, job_id, [2.0, 1.0])
    retire(database)
    kept = litter(store, job_id)
    with database.transaction() as session:
        row = {"id": "art_1", "job_id": job_id, "attempt": 1, "name": "x", "kind": "report", "uri": kept}
        session.execute(insert(Artifact).values(**row, sha256="", num_bytes=1, media_type=""))
    end_attempt(database, job_id, outcome="lost", days_ago=2)
    assert sweep(database, store) == 0
    assert objects(store, job_id) == {*uris, kept}


def test_litter_is_swept_again_after_a_crash(
    database: Database, store: S3Store, settings: Settings, submit: Submit
) -> None:
    job_id = submit()
    litter(store, job_id)
    store.put_bytes(f"s3://{BUCKET}/jobs/{job_id}/a1/model.onnx", b"x")
    end_attempt(database, job_id, outcome="cancelled", days_ago=2)
    with pytest.raises(Crash):
        sweep(database, StoreThatDies(settings, num_deletions=0, after=True))
    assert sweep(database, store) == 1
    assert objects(store, job_id) == set()
