"""Registered models, versions and aliases in MLflow, as PostgreSQL has them."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.tracking.models import CHAMPION, PREVIOUS, ensure_model, set_alias
from heimdall_core.tracking.params import safe_tags
from heimdall_core.tracking.target import JOB_ID_TAG
from worker.run_projection import ProjectedRun, Projection, project_run

if TYPE_CHECKING:
    from mlflow import MlflowClient


def project_version(projection: Projection, job_id: str) -> tuple[str, ProjectedRun]:
    """The version that a job registered, with its run; returns the model's name and the run."""
    with projection.database.transaction() as session:
        version = session.scalars(select(ModelVersion).where(ModelVersion.job_id == job_id)).one()
    run = project_run(projection, job_id)
    number = _ensure_version(projection.client, version, run.run_id)
    with projection.database.transaction() as session:
        where = (ModelVersion.name == version.name, ModelVersion.version == version.version)
        values = {"mlflow_run_id": run.run_id, "mlflow_version": number}
        session.execute(update(ModelVersion).where(*where).values(**values))
    return version.name, run


def project_aliases(projection: Projection, name: str) -> None:
    """Champion and previous of the model; again if they changed in the meantime, for others do this too."""
    told = None
    while (wanted := _aliases(projection, name)) != told:
        for alias, number in wanted.items():
            set_alias(projection.client, name, alias, number)
        told = wanted


def _aliases(projection: Projection, name: str) -> dict[str, str | None]:
    with projection.database.transaction() as session:
        model = session.get_one(Model, name)
        numbers = {CHAMPION: model.champion_version, PREVIOUS: model.previous_version}
    return {alias: _mlflow_version(projection, name, number) for alias, number in numbers.items()}


def _mlflow_version(projection: Projection, name: str, number: int | None) -> str | None:
    """MLflow's number of a version, which is projected now if that was not done yet."""
    if number is None:
        return None
    with projection.database.transaction() as session:
        version = session.get_one(ModelVersion, (name, number))
    if version.mlflow_version is None:
        project_version(projection, version.job_id)
        return _mlflow_version(projection, name, number)
    return version.mlflow_version


def _ensure_version(client: "MlflowClient", version: ModelVersion, run_id: str) -> str:
    ensure_model(client, version.name)
    for known in client.search_model_versions(f"name = '{version.name}'"):
        if known.tags.get(JOB_ID_TAG) == version.job_id:
            return str(known.version)
    made: Any = client.create_model_version(
        version.name, source=version.onnx_uri, run_id=run_id, tags=_tags(version), await_creation_for=0
    )
    return str(made.version)


def _tags(version: ModelVersion) -> dict[str, str]:
    return {
        **safe_tags(
            {
                "heimdall.version": version.version,
                "heimdall.onnx_sha256": version.onnx_sha256,
                "heimdall.dataset": f"{version.dataset_name}/{version.dataset_version}",
            }
        ),
        JOB_ID_TAG: version.job_id,
    }
