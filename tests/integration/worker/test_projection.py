"""What PostgreSQL published reaches MLflow once, whenever MLflow can be reached."""

from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from heimdall_core.database.catalogue_tables import DatasetVersion, ModelVersion
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, Outbox
from heimdall_core.domain.spec import DatasetRef, TrainJobSpec
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import WorkerIdentity, claim_job
from heimdall_core.jobs.reporting import Report, write_report
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.publishing import publish_model
from heimdall_core.settings import Settings, TrackingSettings
from heimdall_core.tracking import JOB_ID_TAG
from worker.projection import CHAMPION, deliver_due

# MLflow's own store, run in this process, uses what SQLAlchemy deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning"
)

WORKER = WorkerIdentity(name="worker@a", host="a", boot_id="boot", has_gpu=False)
RESULT = {
    "metrics": {"median_error_m": 20_000.0},
    "dataset": {"name": "north", "version": 1},
    "onnx": {"uri": "s3://heimdall-models/jobs/j/a1/model.onnx", "sha256": "a" * 64, "bytes": 7},
    "mlflow_run_id": None,
    "dataset_digest": "d" * 64,
}


@pytest.fixture
def succeeded(database: Database) -> str:
    """A job whose model is published and of which MLflow knows nothing."""
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
    with database.transaction() as session:
        submit_job(session, TrainJobSpec(kind="train", dataset=DatasetRef(name="north")), owner="alice")
    with database.transaction() as session:
        claim = claim_job(session, WORKER, lease_seconds=60)
    assert claim is not None
    with database.transaction() as session:
        write_report(
            session, claim, Report(points={("val_loss", 1): (0, 2.0), ("val_loss", 2): (1, 1.0)}), number=1
        )
    with database.transaction() as session:
        finishing.succeed(
            session,
            claim,
            artifacts=[],
            publish=lambda s, job: {
                "model": publish_model(s, job=job, name="localization", result=RESULT, promote="if_better")
            },
        )
    return claim.job_id


@pytest.fixture
def tracked(settings: Settings, tmp_path: Path) -> Settings:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return settings.model_copy(update={"tracking": TrackingSettings(uri=uri, experiment="tests")})


def version_of(database: Database, job_id: str) -> ModelVersion:
    with database.transaction() as session:
        return session.scalars(select(ModelVersion).where(ModelVersion.job_id == job_id)).one()


def make_due(database: Database) -> None:
    with database.transaction() as session:
        session.execute(update(Outbox).values(not_before=text("now()"), done_at=None))


def unreachable(settings: Settings) -> Settings:
    return settings.model_copy(update={"tracking": TrackingSettings(uri="http://127.0.0.1:9")})


def test_an_unreachable_mlflow_delays_and_loses_nothing(
    database: Database, settings: Settings, tracked: Settings, succeeded: str
) -> None:
    assert deliver_due(database, unreachable(settings)) == 0
    with database.transaction() as session:
        entry = session.scalars(select(Outbox)).one()
        assert (entry.failures, entry.done_at) == (1, None)
        assert entry.last_error
        assert session.get_one(Job, succeeded).status == "succeeded"
    make_due(database)
    assert deliver_due(database, tracked) == 1
    assert version_of(database, succeeded).mlflow_version == "1"


def test_the_run_is_rebuilt_with_its_curve_and_the_version_gets_its_alias(
    database: Database, tracked: Settings, succeeded: str
) -> None:
    from mlflow import MlflowClient

    assert deliver_due(database, tracked) == 1
    client = MlflowClient(tracked.tracking.uri, tracked.tracking.uri)
    version = version_of(database, succeeded)
    assert version.mlflow_run_id is not None
    run = client.get_run(version.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[JOB_ID_TAG] == succeeded
    assert run.data.params["model.name"] == "localization"
    history = client.get_metric_history(version.mlflow_run_id, "val_loss")
    assert [(m.step, m.value) for m in history] == [(1, 2.0), (2, 1.0)]
    champion = client.get_model_version_by_alias("localization", CHAMPION)
    assert champion.tags[JOB_ID_TAG] == succeeded
    assert champion.source == RESULT["onnx"]["uri"]


def test_telling_mlflow_twice_changes_nothing(database: Database, tracked: Settings, succeeded: str) -> None:
    from mlflow import MlflowClient

    assert deliver_due(database, tracked) == 1
    make_due(database)
    assert deliver_due(database, tracked) == 1
    client = MlflowClient(tracked.tracking.uri, tracked.tracking.uri)
    assert len(client.search_model_versions("name = 'localization'")) == 1
    assert version_of(database, succeeded).mlflow_version == "1"


def test_two_projections_at_once_deliver_once(database: Database, tracked: Settings, succeeded: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        delivered: list[int] = list(pool.map(lambda _: deliver_due(database, tracked), range(2)))
    assert sum(delivered) == 1
