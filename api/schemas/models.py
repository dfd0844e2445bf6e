"""Models on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.schemas.jobs import ArtifactDocument, JobDocument, artifact_document
from api.services import HandoutStore
from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.job_tables import Artifact
from heimdall_core.datasets.definition import DatasetDefinition
from heimdall_core.registry.aliases import aliases_of
from heimdall_core.registry.gate import is_verified
from heimdall_core.registry.queries import ModelOverview
from heimdall_core.retraining import LATEST, RetrainOutcome

MAX_NEW_SESSIONS = 1_000_000


class ModelDocument(BaseModel):
    """A line of model versions."""

    name: str
    champion_version: int | None = Field(description="The version in use; null: none yet.")
    previous_version: int | None = Field(
        description="The champion before it, which `:rollback` brings back; null: there was none."
    )
    created_at: datetime
    updated_at: datetime


class OnnxDocument(BaseModel):
    """The ONNX file that is served: the first of the exports."""

    uri: str
    sha256: str
    bytes: int
    download_url: str = Field(description="Presigned; expires.")


class DatasetReference(BaseModel):
    """The dataset version that the model was trained on."""

    name: str
    version: int
    digest: str


class ExportDocument(BaseModel):
    """One exported file."""

    name: str = Field(examples=["model.onnx"])
    precision: str
    opset: int | None
    include_frontend: bool
    uri: str
    sha256: str
    bytes: int
    download_url: str = Field(description="Presigned; expires.")
    verification: dict[str, Any] | None = Field(description="How far it is from the network.")


class ParentReference(BaseModel):
    """The model version that the weights come from."""

    name: str
    version: int
    relation: Literal["init_from", "exported"] = Field(
        description="`init_from`: the training started from its weights. `exported`: these are its weights."
    )


class LineageDocument(BaseModel):
    """Where a version comes from."""

    job_id: str
    job_kind: Literal["train", "export"]
    dataset: DatasetReference
    parent: ParentReference | None


class PromotionOutcome(BaseModel):
    """What `register.promote` of the job came to."""

    outcome: Literal["promoted", "refused", "waits"] = Field(
        description="`waits`: evaluate jobs measure it and the champion on the same sessions first."
    )
    reason: str | None = None
    verdict: dict[str, Any] | None = Field(description="The gate's, check by check; null: none was found.")
    evaluation_job_ids: list[str] = Field(default=[], description="The jobs that it waits for.")


class ModelVersionDocument(BaseModel):
    """A registered model."""

    name: str
    version: int
    aliases: list[str] = Field(description="`champion`, `previous`, or none.", examples=[["champion"]])
    metrics: dict[str, Any] = Field(description="On the test split.")
    onnx: OnnxDocument
    exports: list[ExportDocument] = Field(description="Every file that its job exported, that served first.")
    verification: dict[str, Any] | None = Field(
        description="Of the file that is served: `passed`, and how far it is from the network. "
        "Null: it cannot be promoted."
    )
    promotion: PromotionOutcome | None = Field(description="Null: its job was not to promote it.")
    lineage: LineageDocument
    dataset: DatasetReference
    job_id: str
    facts: dict[str, Any]
    mlflow_run_id: str | None
    mlflow_version: str | None = Field(description="Null until MLflow has been told.")
    created_by: str
    created_at: datetime


class ModelVersionDetail(ModelVersionDocument):
    """A registered model, with every file of its job."""

    artifacts: list[ArtifactDocument]


class ModelVersionList(BaseModel):
    """Every version, newest first."""

    data: list[ModelVersionDocument]


class ChampionDocument(BaseModel):
    """The version in use, in short."""

    version: int
    metrics: dict[str, Any] = Field(description="On the test split.")
    dataset: DatasetReference
    verified: bool
    created_at: datetime


class ModelOverviewDocument(ModelDocument):
    """A line of model versions, with its champion."""

    num_versions: int
    newest_version: int
    champion: ChampionDocument | None = Field(description="Null: no version was promoted yet.")


def _definition_of(value: object) -> object:
    """None for "latest", which stands for the champion's own definition."""
    if value == LATEST:
        return None
    if value is None or isinstance(value, str):
        raise ValueError('should be "latest" or a definition as POST /v1/datasets takes it')
    return value


def _tell_latest(schema: dict[str, Any]) -> None:
    """What the document says: the word in place of null."""
    words = [{"type": "string", "const": LATEST}]
    schema["anyOf"] = [one for one in schema["anyOf"] if one.get("type") != "null"] + words
    schema["default"] = LATEST


class RetrainBody(BaseModel):
    """Why a model shall be trained again, on what and how, and what makes two calls the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="For people: it is kept with the job.", examples=["drift: median error above 25 km"]
    )
    dedupe_key: Annotated[str, StringConstraints(min_length=1, max_length=100)] = Field(
        description="Names the occasion: the same key gets the same job for ever.",
        examples=["drift-2026-03-01"],
    )
    dataset: Annotated[DatasetDefinition | None, BeforeValidator(_definition_of)] = Field(
        default=None,
        description="What to freeze and train on, as `POST /v1/datasets` takes it; needs `datasets:write`. "
        '`"latest"`: the definition of the champion\'s dataset, on what is approved now.',
        json_schema_extra=_tell_latest,
    )
    warm_start: bool = Field(
        default=False,
        description="Start from the champion's weights (`init_from`) instead of as the champion started.",
    )
    promote: Literal["never", "if_better"] | None = Field(
        default=None,
        description="`register.promote` of the job; null: as the champion's job had it.",
        examples=["if_better"],
    )
    overrides: dict[str, Any] = Field(
        default={},
        description="Merged over the champion's specification as JSON merge patch (RFC 7396), then "
        "checked as a whole: `model` without `name`, `training`, `resources`, `export`, `limits`, "
        "`priority`, `tags`.",
        examples=[{"training": {"epochs": 60}, "priority": "high"}],
    )
    min_new_sessions: Annotated[int, Field(ge=0, le=MAX_NEW_SESSIONS)] = Field(
        default=1,
        description="Sessions that the champion's dataset version does not hold: with fewer there is no job.",
    )
    force: bool = Field(
        default=False,
        description="Train even if little or nothing has changed since the champion's training.",
    )


class RetrainDocument(JobDocument):
    """The job that serves a call for a retraining."""

    outcome: RetrainOutcome = Field(
        description="`queued`: this call made it. `joined`: it waited already. `repeated`: the `dedupe_key` "
        "has had it before."
    )
    new_sessions: int | None = Field(
        description="Of the job's dataset, unknown to the champion's when it was queued; null: not counted."
    )
    withdrawn_sessions: int | None = Field(
        description="Of the champion's dataset, gone from the job's; null: not counted."
    )
    left_as_it_is: list[Literal["dataset", "overrides", "promote", "warm_start"]] = Field(
        description="Fields in which this call asked for another job than the one that serves it, which is "
        "left as it is."
    )


def model_document(model: Model) -> ModelDocument:
    """The wire form of a model."""
    return ModelDocument(
        name=model.name,
        champion_version=model.champion_version,
        previous_version=model.previous_version,
        created_at=model.created_at,
        updated_at=model.updated_at,
    )


def model_overview_document(found: ModelOverview) -> ModelOverviewDocument:
    """The wire form of a model in a list."""
    return ModelOverviewDocument(
        **model_document(found.model).model_dump(),
        num_versions=found.num_versions,
        newest_version=found.newest_version,
        champion=None if found.champion is None else _champion(found.champion),
    )


def model_version_document(row: ModelVersion, model: Model, store: HandoutStore) -> ModelVersionDocument:
    """The wire form of a version."""
    return ModelVersionDocument(**_members(row, model, store))


def model_version_detail(
    row: ModelVersion, model: Model, artifacts: Sequence[Artifact], store: HandoutStore
) -> ModelVersionDetail:
    """The wire form of a version, with its job's files."""
    files = [artifact_document(artifact, store) for artifact in artifacts]
    return ModelVersionDetail(**_members(row, model, store), artifacts=files)


def _champion(row: ModelVersion) -> ChampionDocument:
    return ChampionDocument(
        version=row.version,
        metrics=row.metrics,
        dataset=_dataset(row),
        verified=is_verified(row.verification, row.exports),
        created_at=row.created_at,
    )


def _dataset(row: ModelVersion) -> DatasetReference:
    return DatasetReference(name=row.dataset_name, version=row.dataset_version, digest=row.dataset_digest)


def _members(row: ModelVersion, model: Model, store: HandoutStore) -> dict[str, Any]:
    dataset = _dataset(row)
    return {
        "name": row.name,
        "version": row.version,
        "aliases": aliases_of(model, row.version),
        "metrics": row.metrics,
        "onnx": OnnxDocument(
            uri=row.onnx_uri,
            sha256=row.onnx_sha256,
            bytes=row.onnx_num_bytes,
            download_url=store.presign_get(row.onnx_uri),
        ),
        "exports": [_export_document(export, store) for export in row.exports],
        "verification": row.verification,
        "promotion": row.promotion,
        "lineage": _lineage(row, dataset),
        "dataset": dataset,
        "job_id": row.job_id,
        "facts": row.facts,
        "mlflow_run_id": row.mlflow_run_id,
        "mlflow_version": row.mlflow_version,
        "created_by": row.created_by,
        "created_at": row.created_at,
    }


def _export_document(export: dict[str, Any], store: HandoutStore) -> ExportDocument:
    return ExportDocument(
        name=export["name"],
        precision=export["precision"],
        opset=export.get("opset"),
        include_frontend=export.get("include_frontend", False),
        uri=export["uri"],
        sha256=export["sha256"],
        bytes=export["bytes"],
        download_url=store.presign_get(export["uri"]),
        verification=export.get("verification"),
    )


def _lineage(row: ModelVersion, dataset: DatasetReference) -> LineageDocument:
    parent = None
    if row.parent_name is not None and row.parent_version is not None:
        relation: Literal["init_from", "exported"] = "exported" if row.origin == "export" else "init_from"
        parent = ParentReference(name=row.parent_name, version=row.parent_version, relation=relation)
    kind: Literal["train", "export"] = "export" if row.origin == "export" else "train"
    return LineageDocument(job_id=row.job_id, job_kind=kind, dataset=dataset, parent=parent)
