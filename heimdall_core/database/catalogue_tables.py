"""Uploads, datasets, models and keys: ours."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from heimdall_core.database.base import Base, JsonObject


class ApiKey(Base):
    """A caller's key; only its SHA-256 is kept."""

    __tablename__ = "api_key"
    __table_args__ = (Index("ix_api_key_prefix", "prefix"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    #: Its first characters, by which it is looked up and told from others.
    prefix: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    #: The key by whose holder it was made; null: a token's, or the bootstrap.
    created_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class IdempotencyRecord(Base):
    """The answer that was given to a keyed request, written in the same transaction as its effect."""

    __tablename__ = "idempotency_record"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status_code: Mapped[int]
    headers: Mapped[JsonObject]
    body: Mapped[JsonObject]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Upload(Base):
    """Files on their way into the catalogue."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    #: Each: name, uri, num_bytes, sha256 or null. With ``options["platform"]`` they are the platform's
    #: own objects, of unknown size, and never ours to delete.
    files: Mapped[list[JsonObject]]
    options: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("training.job.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]


class SessionArchive(Base):
    """Where a recording session's IQ lies: one archive object."""

    __tablename__ = "session_archive"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    uri: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    #: The import that brought it first.
    import_job_id: Mapped[str | None] = mapped_column(ForeignKey("training.job.id"))
    #: A label that keeps related sessions in one split, if the input had one.
    split_group: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SessionImport(Base):
    """Which sessions an import brought, those that the catalogue had already included."""

    __tablename__ = "session_import"

    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id"), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)


class DatasetVersion(Base):
    """An immutable dataset: its manifest lies in the object store."""

    __tablename__ = "dataset_version"

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(index=True)
    manifest_uri: Mapped[str]
    manifest_sha256: Mapped[str]
    counts: Mapped[JsonObject]
    receivers: Mapped[list[JsonObject]]
    query: Mapped[JsonObject]
    split: Mapped[JsonObject]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Model(Base):
    """A line of model versions, one of which may be the champion."""

    __tablename__ = "model"

    name: Mapped[str] = mapped_column(primary_key=True)
    champion_version: Mapped[int | None]
    #: The champion before this one; a rollback swaps the two.
    previous_version: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ModelVersion(Base):
    """A registered, verified model; published together with its job's success."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("job_id"),)

    name: Mapped[str] = mapped_column(ForeignKey("training.model.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id"))
    dataset_name: Mapped[str]
    dataset_version: Mapped[int]
    dataset_digest: Mapped[str]
    onnx_uri: Mapped[str]
    onnx_sha256: Mapped[str]
    onnx_num_bytes: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[JsonObject]
    facts: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    #: Of the file that is served; null: registered before verifications were kept.
    verification: Mapped[JsonObject | None]
    #: Every file that the job exported, each with its own verification.
    exports: Mapped[list[JsonObject]] = mapped_column(server_default=text("'[]'"))
    #: Kind of the job: ``train`` or ``export``.
    origin: Mapped[str] = mapped_column(server_default="train")
    #: The version that the weights started from or, of an export, are of.
    parent_name: Mapped[str | None]
    parent_version: Mapped[int | None]
    #: What ``register.promote`` came to: ``outcome``, ``verdict`` and, while it waits, ``evaluation_job_id``.
    promotion: Mapped[JsonObject | None]
    mlflow_run_id: Mapped[str | None]
    mlflow_version: Mapped[str | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ModelEvent(Base):
    """What happened to a model, for consumers and for auditors; rows are only added."""

    __tablename__ = "model_event"
    __table_args__ = (Index("ix_model_event_model_id", "model", "id"),)

    #: Rises with the order of the events of one model: they are written under a lock of its row.
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("training.model.name"))
    kind: Mapped[str]
    version: Mapped[int]
    #: The champion until then.
    former_version: Mapped[int | None]
    actor: Mapped[str]
    #: The job by which it happened; null: a request.
    job_id: Mapped[str | None]
    reason: Mapped[str | None]
    forced: Mapped[bool] = mapped_column(server_default=text("false"))
    verdict: Mapped[JsonObject | None]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
