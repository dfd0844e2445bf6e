"""Registering a model in the transaction of its job's success: a dead attempt can never do so."""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.job_tables import Job, Outbox

MLFLOW_TOPIC = "mlflow.model_version"
QUALITY_METRIC = "median_error_m"
"""Of the test split; the champion is the version with the lowest."""

_NO_FACTS = frozenset({"metrics", "onnx", "mlflow_run_id", "dataset_digest", "report"})
"""They have columns of their own; the report is an artifact of the job."""


def publish_model(
    session: Session, *, job: Job, name: str, result: Mapping[str, Any], promote: str
) -> dict[str, Any]:
    """Registers the next version of the model; returns its ``name`` and ``version``.

    Args:
        session: the transaction in which the job succeeds.
        job: the training, or the export of its weights.
        name: the model, made if it is new.
        result: what the trainer reported: ``metrics``, ``onnx``, ``mlflow_run_id``, ``dataset``,
            ``dataset_digest``, and facts.
        promote: ``never``, or ``if_better``: see ``is_better``.
    """
    model = _lock_model(session, name)
    row = _version_row(job, name, _next_version(session, name), result)
    session.add(row)
    if promote == "if_better" and is_better(row, _champion(session, model)):
        model.champion_version = row.version
    model.updated_at = func.now()
    session.add(_projection(row, is_champion=model.champion_version == row.version))
    session.flush()
    return {"name": name, "version": row.version}


def is_better(challenger: ModelVersion, champion: ModelVersion | None) -> bool:
    """Whether the challenger's median error is lower on the same dataset; or there is no champion yet."""
    if champion is None:
        return True
    if champion.dataset_digest != challenger.dataset_digest:
        return False
    return _error_m(challenger) < _error_m(champion)


def _error_m(version: ModelVersion) -> float:
    value = version.metrics.get(QUALITY_METRIC)
    return float(value) if isinstance(value, int | float) else math.inf


def _lock_model(session: Session, name: str) -> Model:
    session.execute(insert(Model).values(name=name).on_conflict_do_nothing(index_elements=["name"]))
    statement = select(Model).where(Model.name == name).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one()


def _next_version(session: Session, name: str) -> int:
    newest = session.scalar(select(func.max(ModelVersion.version)).where(ModelVersion.name == name))
    return (newest or 0) + 1


def _champion(session: Session, model: Model) -> ModelVersion | None:
    if model.champion_version is None:
        return None
    return session.get(ModelVersion, (model.name, model.champion_version))


def _version_row(job: Job, name: str, version: int, result: Mapping[str, Any]) -> ModelVersion:
    onnx, dataset = result["onnx"], result["dataset"]
    return ModelVersion(
        name=name,
        version=version,
        job_id=job.id,
        dataset_name=dataset["name"],
        dataset_version=dataset["version"],
        dataset_digest=result.get("dataset_digest") or job.inputs["dataset_digest"],
        onnx_uri=onnx["uri"],
        onnx_sha256=onnx["sha256"],
        onnx_num_bytes=onnx["bytes"],
        metrics={metric: _finite(value) for metric, value in result["metrics"].items()},
        facts={key: value for key, value in result.items() if key not in _NO_FACTS},
        mlflow_run_id=result.get("mlflow_run_id"),
        created_by=job.owner,
    )


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _projection(row: ModelVersion, *, is_champion: bool) -> Outbox:
    """What MLflow must learn, once, whenever it can be reached."""
    return Outbox(
        topic=MLFLOW_TOPIC,
        key=row.job_id,
        payload={
            "name": row.name,
            "version": row.version,
            "job_id": row.job_id,
            "run_id": row.mlflow_run_id,
            "onnx_uri": row.onnx_uri,
            "onnx_sha256": row.onnx_sha256,
            "dataset_digest": row.dataset_digest,
            "metrics": row.metrics,
            "is_champion": is_champion,
        },
    )
