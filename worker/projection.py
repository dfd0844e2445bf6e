"""The MLflow projection: runs, registered models, versions and aliases made from what PostgreSQL published.

Idempotent by job id: telling MLflow twice changes nothing. An MLflow that is away delays it, no more.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func, literal, select, update
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, MetricPoint, Outbox
from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.registry.publishing import MLFLOW_TOPIC
from heimdall_core.settings import Settings
from heimdall_core.tracking import JOB_ID_TAG, initialize_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LEASE_SECONDS = 60.0
_RETRY_CEILING_SECONDS = 300.0
_POINTS_PER_CALL = 1000
CHAMPION = "champion"
_log = structlog.get_logger(__name__)


def deliver_due(database: Database, settings: Settings) -> int:
    """Delivers every due entry; returns how many succeeded."""
    delivered = 0
    while (entry := _take_due(database)) is not None:
        try:
            _deliver(database, settings, entry.key)
        except Exception as error:  # noqa: BLE001 - MLflow raises its own, requests' and SQLAlchemy's
            _log.warning("projection_failed", job_id=entry.key, reason=str(error))
            _postpone(database, entry, str(error))
            return delivered
        _mark_done(database, entry)
        delivered += 1
    return delivered


def _take_due(database: Database) -> Outbox | None:
    due = (
        select(Outbox.id)
        .where(Outbox.topic == MLFLOW_TOPIC, Outbox.done_at.is_(None), Outbox.not_before <= func.now())
        .order_by(Outbox.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    hidden_until = func.now() + literal(timedelta(seconds=_LEASE_SECONDS))
    with database.transaction() as session:
        return session.scalar(
            update(Outbox).where(Outbox.id == due).values(not_before=hidden_until).returning(Outbox)
        )


def _postpone(database: Database, entry: Outbox, reason: str) -> None:
    wait = timedelta(seconds=min(2.0 ** (entry.failures + 1), _RETRY_CEILING_SECONDS))
    values = {
        "failures": Outbox.failures + 1,
        "last_error": reason[:1000],
        "not_before": func.now() + literal(wait),
    }
    with database.transaction() as session:
        session.execute(update(Outbox).where(Outbox.id == entry.id).values(**values))


def _mark_done(database: Database, entry: Outbox) -> None:
    with database.transaction() as session:
        session.execute(
            update(Outbox).where(Outbox.id == entry.id).values(done_at=func.now(), last_error=None)
        )


def _deliver(database: Database, settings: Settings, job_id: str) -> None:
    assert settings.tracking.uri is not None
    client, experiment_id = initialize_mlflow(settings.tracking.uri, settings.tracking.experiment)
    with database.transaction() as session:
        version = session.scalars(select(ModelVersion).where(ModelVersion.job_id == job_id)).one()
        champion = session.scalar(select(Model.champion_version).where(Model.name == version.name))
    run_id = _find_run(client, experiment_id, job_id) or _rebuild_run(client, experiment_id, database, job_id)
    mlflow_version = _ensure_version(client, version, run_id)
    if champion == version.version:
        client.set_registered_model_alias(version.name, CHAMPION, mlflow_version)
    with database.transaction() as session:
        where = (ModelVersion.name == version.name, ModelVersion.version == version.version)
        session.execute(
            update(ModelVersion).where(*where).values(mlflow_run_id=run_id, mlflow_version=mlflow_version)
        )


def _find_run(client: "MlflowClient", experiment_id: str, job_id: str) -> str | None:
    found = client.search_runs([experiment_id], f"tags.`{JOB_ID_TAG}` = '{job_id}'", max_results=1)
    return found[0].info.run_id if found else None


def _rebuild_run(client: "MlflowClient", experiment_id: str, database: Database, job_id: str) -> str:
    """The run that the trainer could not write, from the job's own row and curves."""
    from mlflow.entities import Metric, Param

    with database.transaction() as session:
        job = session.get_one(Job, job_id)
        points = _points(session, job_id)
    assert job.started_at is not None
    assert job.finished_at is not None
    run = client.create_run(
        experiment_id,
        start_time=int(job.started_at.timestamp() * 1000),
        run_name=job_id,
        tags={JOB_ID_TAG: job_id},
    )
    run_id = str(run.info.run_id)
    params = [Param(name, str(value)[:500]) for name, value in _flat(job.spec)]
    client.log_batch(run_id, params=params[:100])
    for first in range(0, len(points), _POINTS_PER_CALL):
        batch = points[first : first + _POINTS_PER_CALL]
        metrics = [Metric(p.name, p.value, int(p.created_at.timestamp() * 1000), p.step) for p in batch]
        client.log_batch(run_id, metrics=metrics)
    client.set_terminated(run_id, "FINISHED", int(job.finished_at.timestamp() * 1000))
    return run_id


def _points(session: Session, job_id: str) -> list[MetricPoint]:
    return list(session.scalars(select(MetricPoint).where(MetricPoint.job_id == job_id)))


def _flat(spec: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for key, value in spec.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return pairs


def _ensure_version(client: "MlflowClient", version: ModelVersion, run_id: str) -> str:
    from mlflow.exceptions import MlflowException

    _unless_present(lambda: client.create_registered_model(version.name), MlflowException)
    for known in client.search_model_versions(f"name = '{version.name}'"):
        if known.tags.get(JOB_ID_TAG) == version.job_id:
            return str(known.version)
    made = client.create_model_version(
        version.name,
        source=version.onnx_uri,
        run_id=run_id,
        tags={
            JOB_ID_TAG: version.job_id,
            "heimdall.version": str(version.version),
            "heimdall.onnx_sha256": version.onnx_sha256,
            "heimdall.dataset": f"{version.dataset_name}/{version.dataset_version}",
        },
    )
    return str(made.version)


def _unless_present(create: Callable[[], object], error_class: type[Exception]) -> None:
    try:
        create()
    except error_class as error:
        if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
            raise TrackingUnavailable(str(error)) from error
