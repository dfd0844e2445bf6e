"""One attempt with everything real: PostgreSQL, S3, a fork server and its trainers. Imports, which need no torch."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import SessionArchive, Upload
from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.database.platform_tables import RecordingSession
from heimdall_core.domain.spec import ImportJobSpec, LimitsSpec
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.finishing import Publish
from heimdall_core.jobs.queries import list_attempts
from heimdall_core.jobs.reported import read_log
from heimdall_core.jobs.requests import cancel_job
from heimdall_core.jobs.submission import submit_job
from heimdall_core.recordings.archive import pack_session
from heimdall_core.registry.reading import NotRead
from heimdall_core.settings import LeaseSettings, Settings
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage import S3Store
from tests.integration.histories import list_events
from worker import supervision
from worker.supervision import Attempt, Host
from worker.trainers import ForkServer

IDENTITY = WorkerIdentity(name="worker@tests", host="tests", boot_id="boot", has_gpu=False)
QUICK = LeaseSettings(
    lease_seconds=10,
    heartbeat_seconds=0.5,
    stop_after_seconds=6,
    kill_after_seconds=8,
    flag_poll_seconds=0.05,
    stop_grace_seconds=2,
)
NUM_SESSIONS = 6


@pytest.fixture
def quick_settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"lease": QUICK, "home": tmp_path / "home"})


@pytest.fixture
def environment(engines_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the next fork server, and so its trainers, will find."""

    def apply(**changes: str) -> None:
        for name, value in (engines_environment | changes).items():
            monkeypatch.setenv(name, value)

    apply()
    return apply


@pytest.fixture
def host(
    database: Database, store: S3Store, quick_settings: Settings, environment: Callable[..., None]
) -> Iterator[Host]:
    del environment
    server = ForkServer(preload=("heimdall_core.catalogue.importing",))
    yield Host(
        database=database,
        store=store,
        fork_server=server,
        settings=quick_settings,
        shutdown=threading.Event(),
    )
    server.close()


@pytest.fixture
def claim(database: Database, store: S3Store) -> Callable[..., Claim]:
    """Uploads a few sessions, submits their import and claims it."""

    def prepare(*, max_attempts: int = 3) -> Claim:
        upload_id = new_id("upl")
        files = []
        for number, session in enumerate(simulate_sessions(NUM_SESSIONS, seed=3)):
            uri = f"s3://heimdall-raw-iq/uploads/{upload_id}/{number}/s.sigmf"
            stored = store.put_bytes(uri, pack_session(session).data)
            name = f"{number}.sigmf"
            files.append({"name": name, "uri": uri, "num_bytes": stored.num_bytes, "sha256": stored.sha256})
        with database.transaction() as session:
            session.add(Upload(id=upload_id, owner="alice", files=files, completed_at=func.now()))
        spec = ImportJobSpec(kind="import", upload_id=upload_id, limits=LimitsSpec(max_attempts=max_attempts))
        with database.transaction() as session:
            submit_job(session, spec, owner="alice")
        with database.transaction() as session:
            taken = claim_job(session, IDENTITY, lease_seconds=QUICK.lease_seconds)
        assert taken is not None
        return taken

    return prepare


def read(database: Database, job_id: str) -> Job:
    with database.transaction() as session:
        return session.get_one(Job, job_id)


def count(database: Database, table: type) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def publish_after(first: Callable[[Session, Job], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every publication do this first."""
    prepare = supervision.prepare_publication

    def prepared(*arguments: Any) -> Publish:
        publish = prepare(*arguments)

        def publish_later(session: Session, job: Job) -> dict[str, Any]:
            first(session, job)
            return publish(session, job)

        return publish_later

    monkeypatch.setattr(supervision, "prepare_publication", prepared)


def test_a_good_import_is_published_with_its_success(
    host: Host, database: Database, claim: Callable[..., Claim]
) -> None:
    taken = claim()
    Attempt(host, taken).run()
    job = read(database, taken.job_id)
    assert job.status == "succeeded", job.error
    assert job.result is not None
    assert job.result["accepted"] == NUM_SESSIONS
    assert count(database, RecordingSession) == count(database, SessionArchive) == NUM_SESSIONS
    with database.transaction() as session:
        assert "files_imported" in [e["event"] for e in list_events(session, job.id)]
        assert [a["exit_code"] for a in list_attempts(session, job.id)] == [0]
    assert not (host.settings.home / "work" / job.id).exists()


def test_an_object_store_that_is_away_is_told_with_category_and_hint(
    host: Host, database: Database, claim: Callable[..., Claim], environment: Callable[..., None]
) -> None:
    environment(HEIMDALL_STORAGE__ENDPOINT_URL="http://127.0.0.1:9")
    taken = claim()
    Attempt(host, taken).run()
    job = read(database, taken.job_id)
    assert (job.status, job.failures) == ("queued", 1), "it may pass: the job waits for another attempt"
    with database.transaction() as session:
        (attempt,) = list_attempts(session, job.id)
        assert "Traceback" in read_log(session, job.id)["content"]
    assert attempt["outcome"] == "failed"
    assert attempt["error"]["code"] == "storage_unavailable"
    assert attempt["error"]["category"] == "infra"
    assert "object store" in attempt["error"]["hint"]
    assert count(database, RecordingSession) == 0


def test_the_last_attempt_leaves_the_error_on_the_job(
    host: Host, database: Database, claim: Callable[..., Claim], environment: Callable[..., None]
) -> None:
    environment(HEIMDALL_STORAGE__ENDPOINT_URL="http://127.0.0.1:9")
    taken = claim(max_attempts=1)
    Attempt(host, taken).run()
    job = read(database, taken.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error["category"], job.error["retryable"]) == ("infra", True)


def test_an_attempt_that_is_cancelled_publishes_all_or_nothing(
    host: Host, database: Database, claim: Callable[..., Claim]
) -> None:
    taken = claim()
    with database.transaction() as session:
        cancel_job(session, taken.job_id, owner="alice")
    attempt = Attempt(host, taken)
    attempt.run()
    job = read(database, taken.job_id)
    # It may have been quicker than the request; then it has succeeded, whole.
    published = NUM_SESSIONS if job.status == "succeeded" else 0
    assert job.status in {"cancelled", "succeeded"}
    assert count(database, RecordingSession) == published


def test_an_attempt_that_lost_its_lease_publishes_nothing(
    host: Host, database: Database, claim: Callable[..., Claim]
) -> None:
    taken = claim()
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == taken.job_id).values(attempt=Job.attempt + 1))
    Attempt(host, taken).run()
    job = read(database, taken.job_id)
    assert (job.status, job.result) == ("running", None), "it is the other attempt's now"
    assert count(database, RecordingSession) == 0


def test_a_publication_that_fails_fails_the_job_and_leaves_nothing_behind(
    host: Host, database: Database, claim: Callable[..., Claim]
) -> None:
    taken = claim()
    broken = "alter table training.session_import add constraint refuse check (false) not valid"
    with database.engine.begin() as connection:
        connection.exec_driver_sql(broken)
    try:
        Attempt(host, taken).run()
    finally:
        with database.engine.begin() as connection:
            connection.exec_driver_sql("alter table training.session_import drop constraint refuse")
    job = read(database, taken.job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["category"] == "bug"
    assert count(database, RecordingSession) == 0


def test_what_a_success_needs_of_the_store_is_read_while_the_job_is_not_locked(
    host: Host, database: Database, claim: Callable[..., Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = claim()
    tried: list[str] = []

    def fetch() -> None:
        with database.transaction() as session:
            session.scalars(select(Job).where(Job.id == taken.job_id).with_for_update(nowait=True)).one()
        tried.append("fetched")

    def once_unread(session: Session, job: Job) -> None:
        tried.append("published")
        if "fetched" not in tried:
            raise NotRead("s3://b/k", fetch)

    publish_after(once_unread, monkeypatch)
    Attempt(host, taken).run()
    assert read(database, taken.job_id).status == "succeeded"
    assert tried == ["published", "fetched", "published"]
    assert count(database, SessionArchive) == NUM_SESSIONS


def test_a_transaction_that_the_server_ended_for_idling_is_tried_again(
    host: Host, database: Database, claim: Callable[..., Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = claim()
    ended: list[int] = []

    def idle(session: Session, job: Job) -> None:
        if ended:
            return
        ended.append(session.scalar(select(func.pg_backend_pid())) or 0)
        session.execute(text("set local idle_in_transaction_session_timeout = '1ms'"))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            alive = text("select exists (select from pg_stat_activity where pid = :pid)")
            while other.scalar(alive, {"pid": ended[0]}):
                pass

    publish_after(idle, monkeypatch)
    Attempt(host, taken).run()
    job = read(database, taken.job_id)
    assert job.status == "succeeded", job.error
    assert ended


def test_a_worker_that_shuts_down_gives_the_job_back(
    host: Host, database: Database, claim: Callable[..., Claim]
) -> None:
    taken = claim()
    host.shutdown.set()
    Attempt(host, taken).run()
    job = read(database, taken.job_id)
    assert (job.status, job.failures) in {("queued", 0), ("succeeded", 0)}
