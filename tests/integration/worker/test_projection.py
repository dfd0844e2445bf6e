"""What PostgreSQL published reaches MLflow once, whenever MLflow can be reached."""

import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, Model, ModelVersion
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, Outbox
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.domain.spec import DatasetRef, TrainJobSpec
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.reporting import Report, write_report
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.promotion import ALIAS_TOPIC
from heimdall_core.registry.publishing import MLFLOW_TOPIC
from heimdall_core.settings import Settings, TrackingSettings
from heimdall_core.storage import S3Store
from heimdall_core.tracking import JOB_ID_TAG, MLflowTracker, TrackingTarget, connect, target_of
from worker import projection
from worker.projection import deliver_due, end_stray_runs

# MLflow's own store, run in this process, uses what SQLAlchemy deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning"
)

WORKER = WorkerIdentity(name="worker@a", host="a", boot_id="boot", has_gpu=False)
ONNX_URI = "s3://heimdall-models/jobs/j/a1/model.onnx"
MODEL = "localization"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow takes its access to S3 from the process, which is as before afterwards."""
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "set back afterwards")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def claim(database: Database) -> Claim:
    """A running training with two points of a curve."""
    with database.transaction() as session:
        session.add(
            DatasetVersion(
                name="north",
                version=1,
                digest="d" * 64,
                manifest_uri="s3://heimdall-models/m.json",
                manifest_sha256="e" * 64,
                counts={},
                receivers=[],
                query={},
                split={},
                created_by="tests",
            )
        )
    return claim_another(database)


def claim_another(database: Database) -> Claim:
    with database.transaction() as session:
        submit_job(session, TrainJobSpec(kind="train", dataset=DatasetRef(name="north")), owner="alice")
    with database.transaction() as session:
        claim = claim_job(session, WORKER, lease_seconds=60)
    assert claim is not None
    points = {("val_loss", 1): (0, 2.0), ("val_loss", 2): (1, 1.0)}
    with database.transaction() as session:
        write_report(session, claim, Report(points=points), number=1)
    return claim


def succeed(
    database: Database, claim: Claim, *, artifacts: Sequence[dict[str, Any]] = (), is_champion: bool = True
) -> str:
    """The job succeeds and registers the next version of the model."""

    def publish(session: Session, job: Job) -> dict[str, Any]:
        model = session.get(Model, MODEL) or Model(name=MODEL)
        session.add(model)
        session.flush()
        number = len(session.scalars(select(ModelVersion)).all()) + 1
        session.add(
            ModelVersion(
                name=MODEL,
                version=number,
                job_id=job.id,
                dataset_name="north",
                dataset_version=1,
                dataset_digest="d" * 64,
                onnx_uri=ONNX_URI,
                onnx_sha256="a" * 64,
                onnx_num_bytes=7,
                metrics={},
                created_by="alice",
            )
        )
        session.add(Outbox(topic=MLFLOW_TOPIC, key=job.id, payload={"name": MODEL, "version": number}))
        if is_champion:
            promote(session, number)
        return {}

    with database.transaction() as session:
        finishing.succeed(session, claim, artifacts=artifacts, publish=publish)
    return claim.job_id


def promote(session: Session, number: int, *, change: str | None = None) -> None:
    model = session.get_one(Model, MODEL)
    model.previous_version, model.champion_version = model.champion_version, number
    if change is not None:
        session.add(Outbox(topic=ALIAS_TOPIC, key=change, payload={"name": MODEL}))


@pytest.fixture
def succeeded(database: Database, claim: Claim) -> str:
    """A job whose model is published and of which MLflow knows nothing."""
    return succeed(database, claim)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, which it takes seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(TrackingTarget(uri=f"sqlite:///{path}", experiment="others"))
    return path


@pytest.fixture
def tracked(settings: Settings, tmp_path: Path, empty_store: Path) -> Settings:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    tracking = TrackingSettings(
        backend_store_uri=SecretStr(f"sqlite:///{tmp_path}/mlflow.db"),
        artifact_root=f"file://{tmp_path}/artifacts",
        experiment="tests",
    )
    return settings.model_copy(update={"tracking": tracking})


def client_of(tracked: Settings) -> Any:
    target = target_of(tracked)
    assert target is not None
    return connect(target)[0]


def run_of(tracked: Settings, job_id: str) -> Any:
    client = client_of(tracked)
    experiment = client.get_experiment_by_name("tests").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`{JOB_ID_TAG}` = '{job_id}'")
    return run


def curve(tracked: Settings, run_id: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client_of(tracked).get_metric_history(run_id, "val_loss"))


def aliases(tracked: Settings) -> dict[str, str]:
    found = client_of(tracked).get_registered_model(MODEL).aliases
    return {alias: str(number) for alias, number in found.items()}


def version_of(database: Database, job_id: str) -> ModelVersion:
    with database.transaction() as session:
        return session.scalars(select(ModelVersion).where(ModelVersion.job_id == job_id)).one()


def make_due(database: Database) -> None:
    with database.transaction() as session:
        session.execute(update(Outbox).values(not_before=text("now()"), done_at=None))


def unreachable(settings: Settings) -> Settings:
    return settings.model_copy(update={"tracking": TrackingSettings(uri="http://me:hunter2@127.0.0.1:9")})


def test_an_unreachable_mlflow_delays_and_loses_nothing(
    database: Database, settings: Settings, tracked: Settings, succeeded: str
) -> None:
    assert deliver_due(database, unreachable(settings)) == 0
    with database.transaction() as session:
        entry = session.scalars(select(Outbox)).one()
        assert (entry.failures, entry.done_at) == (1, None)
        assert entry.last_error
        assert "hunter2" not in entry.last_error
        assert session.get_one(Job, succeeded).status == "succeeded"
    make_due(database)
    assert deliver_due(database, tracked) == 1
    assert version_of(database, succeeded).mlflow_version == "1"


def test_an_mlflow_that_is_away_is_waited_for_once_and_not_with_each_entry(
    database: Database, settings: Settings, tracked: Settings, succeeded: str
) -> None:
    succeed(database, claim_another(database), is_champion=False)
    assert deliver_due(database, unreachable(settings)) == 0
    with database.transaction() as session:
        due = session.scalars(select(Outbox).where(Outbox.not_before <= text("now()"))).all()
        failures = session.scalars(select(Outbox.failures).order_by(Outbox.id)).all()
    assert (list(due), list(failures)) == ([], [1, 0])
    make_due(database)
    assert deliver_due(database, tracked) == 2


def test_the_run_is_rebuilt_with_its_curve_and_the_version_gets_its_alias(
    database: Database, tracked: Settings, succeeded: str
) -> None:
    assert deliver_due(database, tracked) == 1
    run = run_of(tracked, succeeded)
    assert version_of(database, succeeded).mlflow_run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["model.name"] == MODEL
    assert curve(tracked, run.info.run_id) == [(1, 2.0), (2, 1.0)]
    champion = client_of(tracked).get_model_version_by_alias(MODEL, "champion")
    assert (champion.tags[JOB_ID_TAG], champion.source) == (succeeded, ONNX_URI)


def test_telling_mlflow_twice_changes_nothing(database: Database, tracked: Settings, succeeded: str) -> None:
    assert deliver_due(database, tracked) == 1
    make_due(database)
    assert deliver_due(database, tracked) == 1
    assert deliver_due(database, tracked) == 0
    assert len(client_of(tracked).search_model_versions(f"name = '{MODEL}'")) == 1
    assert version_of(database, succeeded).mlflow_version == "1"
    assert curve(tracked, run_of(tracked, succeeded).info.run_id) == [(1, 2.0), (2, 1.0)]


def test_the_run_of_a_killed_trainer_is_completed_and_ended_when_its_job_failed(
    database: Database, tracked: Settings, claim: Claim
) -> None:
    tracker = MLflowTracker(target_of(tracked), run_name="job", tags={JOB_ID_TAG: claim.job_id})  # type: ignore[arg-type]
    tracker.log_metrics({"val_loss": 2.0}, step=1)
    tracker.close(60)
    client_of(tracked).update_run(tracker.run_id, status="RUNNING")
    killed = ErrorInfo(code="trainer_killed", category=ErrorCategory.BUG, message="killed")
    with database.transaction() as session:
        finishing.fail(session, claim, killed, exit_code=-9)
    assert deliver_due(database, tracked) == 1
    run = run_of(tracked, claim.job_id)
    assert (run.info.run_id, run.info.status) == (tracker.run_id, "FAILED")
    assert curve(tracked, run.info.run_id) == [(1, 2.0), (2, 1.0)]
    assert deliver_due(database, tracked) == 0


def test_a_run_that_a_thawed_trainer_set_running_is_ended_again(
    database: Database, tracked: Settings, succeeded: str
) -> None:
    deliver_due(database, tracked)
    client_of(tracked).update_run(run_of(tracked, succeeded).info.run_id, status="RUNNING")
    another = claim_another(database)
    with database.transaction() as session:
        finishing.finish_cancelled(session, another, exit_code=None)
    assert deliver_due(database, tracked) == 1
    assert run_of(tracked, succeeded).info.status == "FINISHED"


def test_a_run_that_is_retried_goes_on(database: Database, tracked: Settings, claim: Claim) -> None:
    lost = ErrorInfo(code="os_error", category=ErrorCategory.INFRA, message="lost", retryable=True)
    with database.transaction() as session:
        finishing.fail(session, claim, lost, exit_code=1)
    assert deliver_due(database, tracked) == 0


def test_an_evaluation_has_a_run_with_its_metrics_too(
    database: Database, tracked: Settings, claim: Claim
) -> None:
    with database.transaction() as session:
        session.get_one(Job, claim.job_id).kind = "evaluate"
    with database.transaction() as session:
        finishing.succeed(session, claim, artifacts=[], publish=lambda _session, _job: {})
    deliver_due(database, tracked)
    run = run_of(tracked, claim.job_id)
    assert run.info.status == "FINISHED"
    assert curve(tracked, run.info.run_id) == [(1, 2.0), (2, 1.0)]


def test_a_cancelled_jobs_run_is_ended_as_killed(database: Database, tracked: Settings, claim: Claim) -> None:
    with database.transaction() as session:
        finishing.finish_cancelled(session, claim, exit_code=None)
    assert deliver_due(database, tracked) == 1
    assert run_of(tracked, claim.job_id).info.status == "KILLED"


def test_files_that_the_trainer_could_not_send_are_copied_from_the_object_store(
    database: Database, tracked: Settings, claim: Claim, store: S3Store
) -> None:
    uri = "s3://heimdall-models/jobs/projection/report.json"
    stored = store.put_bytes(uri, b"{}")
    report = {
        "name": "report.json",
        "kind": "report",
        "uri": uri,
        "sha256": stored.sha256,
        "num_bytes": 2,
        "media_type": "application/json",
    }
    succeed(database, claim, artifacts=[report, report | {"name": "model.onnx", "kind": "onnx"}])
    assert deliver_due(database, tracked) == 1
    run_id = run_of(tracked, claim.job_id).info.run_id
    assert [found.path for found in client_of(tracked).list_artifacts(run_id)] == ["report.json"]


def test_champion_and_previous_follow_promotion_and_rollback(
    database: Database, tracked: Settings, succeeded: str
) -> None:
    second = succeed(database, claim_another(database), is_champion=False)
    with database.transaction() as session:
        promote(session, 2, change="event-1")
        # The promotion is told before the version that it is about.
        session.execute(
            update(Outbox).where(Outbox.key == second).values(not_before=text("now() + interval '1 h'"))
        )
    deliver_due(database, tracked)
    numbers = [version_of(database, job_id).mlflow_version for job_id in (succeeded, second)]
    assert aliases(tracked) == {"champion": numbers[1], "previous": numbers[0]}
    with database.transaction() as session:
        promote(session, 1, change="event-2")
    assert deliver_due(database, tracked) == 1
    assert aliases(tracked) == {"champion": numbers[0], "previous": numbers[1]}
    with database.transaction() as session:
        model = session.get_one(Model, MODEL)
        model.previous_version = None
        session.add(Outbox(topic=ALIAS_TOPIC, key="event-3", payload={"name": MODEL}))
    assert deliver_due(database, tracked) == 1
    assert aliases(tracked) == {"champion": numbers[0]}


def test_every_run_of_an_ended_job_is_ended_though_nothing_is_due(
    database: Database, tracked: Settings, succeeded: str
) -> None:
    deliver_due(database, tracked)
    client, experiment = connect(target_of(tracked))  # type: ignore[arg-type]
    second = client.create_run(experiment, tags={JOB_ID_TAG: succeeded}).info.run_id
    others = client.create_run(experiment, tags={}).info.run_id
    assert deliver_due(database, tracked) == 0
    end_stray_runs(database, tracked)
    assert client.get_run(second).info.status == "FINISHED"
    assert client.get_run(others).info.status == "RUNNING"


def test_a_store_of_artifacts_that_is_away_is_waited_for_once_and_not_with_each_entry(
    database: Database, tracked: Settings, claim: Claim, store: S3Store
) -> None:
    uri = "s3://heimdall-models/jobs/away/report.json"
    stored = store.put_bytes(uri, b"{}")
    report = {
        "name": "report.json",
        "kind": "report",
        "uri": uri,
        "sha256": stored.sha256,
        "num_bytes": 2,
        "media_type": "application/json",
    }
    succeed(database, claim, artifacts=[report])
    succeed(database, claim_another(database), is_champion=False)
    away = {"artifact_root": "s3://heimdall-mlflow/away", "s3_endpoint_url": "http://127.0.0.1:9"}
    tracking = tracked.tracking.model_copy(update=away)
    assert deliver_due(database, tracked.model_copy(update={"tracking": tracking})) == 0
    with database.transaction() as session:
        due = session.scalars(select(Outbox).where(Outbox.not_before <= text("now()"))).all()
    assert list(due) == []


def test_one_projection_works_at_a_time(
    database: Database, tracked: Settings, succeeded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def deliver(*_: object) -> None:
        begun.set()
        assert go_on.wait(30)

    succeed(database, claim_another(database), is_champion=False)
    monkeypatch.setattr(projection, "_deliver", deliver)
    monkeypatch.setattr(projection, "_end_strays", deliver)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(deliver_due, database, tracked)
        assert begun.wait(30)
        second = deliver_due(database, tracked)
        go_on.set()
        assert (first.result(30), second) == (2, 0)
    make_due(database)
    assert deliver_due(database, tracked) == 2


def test_two_projections_at_once_deliver_once(database: Database, tracked: Settings, succeeded: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        delivered: list[int] = list(pool.map(lambda _: deliver_due(database, tracked), range(2)))
    assert sum(delivered) == 1


def test_a_frozen_projector_loses_its_turn_and_delivers_nothing_more(
    database: Database, tracked: Settings, succeeded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(database, claim_another(database), is_champion=False)
    monkeypatch.setattr(projection, "_LONGEST_DELIVERY_SECONDS", 1)
    others: list[int] = []

    def freeze(*_: object) -> None:
        deadline = time.monotonic() + 30
        monkeypatch.setattr(projection, "_deliver", lambda *_: None)
        while not (delivered := deliver_due(database, tracked)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        others.append(delivered)

    monkeypatch.setattr(projection, "_deliver", freeze)
    monkeypatch.setattr(projection, "_end_strays", lambda *_: None)
    assert deliver_due(database, tracked) == 1, "it ends what it was at, and is told then"
    assert others == [1]
