"""Registering a model in the transaction of its job's success: a dead attempt can never do so."""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.job_tables import Job, Outbox
from heimdall_core.domain.errors import DataError
from heimdall_core.registry.automatic_promotion import promote_if_better
from heimdall_core.registry.events import ModelEventKind, record_model_event
from heimdall_core.registry.gate import is_verified
from heimdall_core.registry.promotion import Gate, lock_model

MLFLOW_TOPIC = "mlflow.model_version"

_NO_FACTS = frozenset(
    {"metrics", "onnx", "mlflow_run_id", "dataset_digest", "report", "verification", "exports"}
)
"""They have columns of their own; the report is an artifact of the job."""


def publish_model(
    session: Session, *, job: Job, name: str, result: Mapping[str, Any], promote: str, gate: Gate
) -> dict[str, Any]:
    """Registers the next version of the model; returns its ``name`` and ``version``.

    Args:
        session: the transaction in which the job succeeds.
        job: the training, or the export of its weights.
        name: the model, made if it is new.
        result: what the trainer reported: ``metrics``, ``onnx``, ``verification``, ``exports``,
            ``mlflow_run_id``, ``dataset``, ``dataset_digest``, and facts.
        promote: ``never``, or ``if_better``: see ``promote_if_better``.
        gate: what the verdict is found with.

    Raises:
        DataError: the exported files were not verified.
    """
    require_verified(result)
    model = _make_model(session, name)
    row = _version_row(session, job, name, _next_version(session, name), result)
    session.add(row)
    model.updated_at = func.now()
    session.flush()
    _tell(session, model, row, job)
    if promote == "if_better":
        promote_if_better(session, model, row, gate, job)
    session.add(_projection(row, is_champion=model.champion_version == row.version))
    session.flush()
    return {"name": name, "version": row.version}


def require_verified(result: Mapping[str, Any]) -> None:
    """Raises DataError unless every exported file of a result was verified."""
    if not is_verified(result.get("verification"), result.get("exports") or ()):
        raise DataError(
            "an exported file was not verified against its network, so the model is not registered",
            code="not_verified",
            hint="The job's artifacts hold the files and their differences; export again, or train again.",
        )


def _make_model(session: Session, name: str) -> Model:
    session.execute(insert(Model).values(name=name).on_conflict_do_nothing(index_elements=["name"]))
    return lock_model(session, name)


def _next_version(session: Session, name: str) -> int:
    newest = session.scalar(select(func.max(ModelVersion.version)).where(ModelVersion.name == name))
    return (newest or 0) + 1


def _tell(session: Session, model: Model, row: ModelVersion, job: Job) -> None:
    record_model_event(
        session,
        ModelEventKind.REGISTERED,
        model=model.name,
        version=row.version,
        former_version=model.champion_version,
        actor=job.owner,
        job_id=job.id,
    )


def _version_row(
    session: Session, job: Job, name: str, version: int, result: Mapping[str, Any]
) -> ModelVersion:
    onnx, dataset = result["onnx"], result["dataset"]
    parent_name, parent_version = _parent(session, job) or (None, None)
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
        verification=result["verification"],
        exports=list(result.get("exports") or ()),
        origin=job.kind,
        parent_name=parent_name,
        parent_version=parent_version,
        mlflow_run_id=result.get("mlflow_run_id"),
        created_by=job.owner,
    )


def _parent(session: Session, job: Job) -> tuple[str, int] | None:
    """The version that the weights started from or, of an export, are of."""
    source = job.spec.get("source") or {}
    if stated := job.spec.get("init_from") or source.get("model"):
        return stated["name"], stated["version"]
    if source.get("job_id") is None:
        return None
    row = session.scalar(select(ModelVersion).where(ModelVersion.job_id == source["job_id"]))
    return None if row is None else (row.name, row.version)


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
