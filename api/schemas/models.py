"""Models on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.services import HandoutStore
from heimdall_core.database.catalogue_tables import Model, ModelVersion


class ModelDocument(BaseModel):
    """A line of model versions."""

    name: str
    champion_version: int | None = Field(description="The version in use; null: none yet.")
    created_at: datetime
    updated_at: datetime


class OnnxDocument(BaseModel):
    """The verified ONNX file."""

    uri: str
    sha256: str
    bytes: int
    download_url: str = Field(description="Presigned; expires.")


class DatasetReference(BaseModel):
    """The dataset version that the model was trained on."""

    name: str
    version: int
    digest: str


class ModelVersionDocument(BaseModel):
    """A registered model."""

    name: str
    version: int
    aliases: list[str] = Field(examples=[["champion"]])
    metrics: dict[str, Any] = Field(description="On the test split.")
    onnx: OnnxDocument
    dataset: DatasetReference
    job_id: str
    facts: dict[str, Any]
    mlflow_run_id: str | None
    mlflow_version: str | None = Field(description="Null until MLflow has been told.")
    created_by: str
    created_at: datetime


class ModelVersionList(BaseModel):
    """Every version, newest first."""

    data: list[ModelVersionDocument]


class RetrainBody(BaseModel):
    """Why a model shall be trained again, and what makes two calls the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="For people: it is kept with the job.", examples=["drift: median error above 25 km"]
    )
    dedupe_key: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="Names the occasion: the same key gets the same job for ever.",
        examples=["drift-2026-03-01"],
    )
    force: bool = Field(
        default=False, description="Train even if the champion has seen all that is approved now."
    )
    warm_start: bool = Field(
        default=False,
        description="Start from the champion's weights (`init_from`) instead of as the champion started. "
        "A call that joins a queued job leaves it as it is.",
    )


def model_document(model: Model) -> ModelDocument:
    """The wire form of a model."""
    return ModelDocument(
        name=model.name,
        champion_version=model.champion_version,
        created_at=model.created_at,
        updated_at=model.updated_at,
    )


def model_version_document(row: ModelVersion, model: Model, store: HandoutStore) -> ModelVersionDocument:
    """The wire form of a version."""
    return ModelVersionDocument(
        name=row.name,
        version=row.version,
        aliases=["champion"] if row.version == model.champion_version else [],
        metrics=row.metrics,
        onnx=OnnxDocument(
            uri=row.onnx_uri,
            sha256=row.onnx_sha256,
            bytes=row.onnx_num_bytes,
            download_url=store.presign_get(row.onnx_uri),
        ),
        dataset=DatasetReference(
            name=row.dataset_name, version=row.dataset_version, digest=row.dataset_digest
        ),
        job_id=row.job_id,
        facts=row.facts,
        mlflow_run_id=row.mlflow_run_id,
        mlflow_version=row.mlflow_version,
        created_by=row.created_by,
        created_at=row.created_at,
    )
