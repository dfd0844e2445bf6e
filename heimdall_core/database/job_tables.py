"""Jobs, their attempts, and everything that an attempt reports."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from heimdall_core.database.base import Base, JsonObject

_STATUSES = "'queued','running','paused','succeeded','failed','cancelled'"
_TERMINAL = "'succeeded','failed','cancelled'"


class Job(Base):
    """A job. The row is the job; a message about it is only a hint."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"status in ({_STATUSES})", name="status"),
        CheckConstraint(
            "(status = 'running') = (lease_owner is not null and lease_expires_at is not null)", name="lease"
        ),
        CheckConstraint(f"(status in ({_TERMINAL})) = (finished_at is not null)", name="finished"),
        CheckConstraint("status <> 'failed' or error is not null", name="error"),
        Index(
            "ix_job_queue",
            text("priority_rank desc"),
            "created_at",
            "id",
            postgresql_where=text("status = 'queued'"),
            postgresql_include=["owner", "kind"],
        ),
        Index(
            "ix_job_claim_owner",
            "owner",
            text("priority_rank desc"),
            "created_at",
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        Index(
            "ix_job_coalesce",
            "coalesce_key",
            unique=True,
            postgresql_where=text("status = 'queued' and coalesce_key is not null"),
        ),
        Index("ix_job_lease", "lease_expires_at", postgresql_where=text("status = 'running'")),
        Index(
            "ix_job_succeeded",
            "kind",
            text("finished_at desc"),
            postgresql_where=text("status = 'succeeded'"),
        ),
        Index("ix_job_finished", "finished_at", postgresql_where=text("finished_at is not null")),
        Index("ix_job_content", "content_key", postgresql_where=text("content_key is not null")),
        Index("ix_job_source_model", "source_model", postgresql_where=text("source_model is not null")),
        Index("ix_job_parent", "parent_job_id", postgresql_where=text("parent_job_id is not null")),
        Index("ix_job_page", "created_at", "id"),
        Index("ix_job_owner_page", "owner", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    owner: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="queued")
    phase: Mapped[str | None]
    spec: Mapped[JsonObject]
    #: What the worker needs and the spec only refers to, resolved when the job was accepted.
    inputs: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    tags: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    priority: Mapped[str] = mapped_column(server_default="normal")
    priority_rank: Mapped[int] = mapped_column(server_default="1")
    accelerator: Mapped[str] = mapped_column(server_default="auto")
    #: Memory that the accelerator (the host, on a CPU) must have.
    min_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: At most one queued job has it: requests that mean the same thing join.
    coalesce_key: Mapped[str | None]
    #: What a training would compute: of two jobs with the same key the second has nothing new to say.
    content_key: Mapped[str | None]
    #: ``name/version`` of the registered model that the job starts from, exports or evaluates.
    source_model: Mapped[str | None]
    #: W3C Trace Context of the request that made it.
    traceparent: Mapped[str | None]
    tracestate: Mapped[str | None]
    parent_job_id: Mapped[str | None] = mapped_column(ForeignKey("training.job.id"))

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    not_before: Mapped[datetime] = mapped_column(server_default=func.now())
    dispatched_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    finish_requested_at: Mapped[datetime | None]
    #: When it last began to wait: submitted, given back, or resumed.
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    max_pending_seconds: Mapped[int | None]
    max_runtime_seconds: Mapped[int | None]

    #: Number of the newest attempt, which is its fencing token.
    attempt: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int] = mapped_column(server_default="3")
    #: Times that a worker gave it back unfinished; they cost no retry.
    preemptions: Mapped[int] = mapped_column(server_default="0")
    #: Of the attempts that have ended.
    runtime_seconds: Mapped[float] = mapped_column(server_default="0")
    #: What the engine changed of the spec for the next attempt, such as ``micro_batch_size``.
    adjustments: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]

    progress: Mapped[JsonObject | None]
    metrics: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    error: Mapped[JsonObject | None]
    result: Mapped[JsonObject | None]
    #: Counts the changes of this row: the ETag.
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")


class JobAttempt(Base):
    """One try at a job, by one worker."""

    __tablename__ = "job_attempt"

    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    host: Mapped[str]
    boot_id: Mapped[str]
    trainer_pid: Mapped[int | None]
    #: Number of the newest report written: one whose COMMIT lost its answer is not written twice.
    report_number: Mapped[int] = mapped_column(server_default="0")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    exit_code: Mapped[int | None]
    error: Mapped[JsonObject | None]
    #: Of the trainer: the most memory of the host, and of one accelerator; null: unknown, or it used none.
    peak_host_bytes: Mapped[int | None] = mapped_column(BigInteger)
    peak_accelerator_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: Of a training, validation included.
    seconds_per_epoch: Mapped[float | None]


class JobEvent(Base):
    """A line of a job's history; append-only, one sequence for all jobs."""

    __tablename__ = "job_event"
    __table_args__ = (Index("ix_job_event_job", "job_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"))
    attempt: Mapped[int | None]
    name: Mapped[str]
    data: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class MetricPoint(Base):
    """A point of a curve; a replayed step replaces its former value."""

    __tablename__ = "metric_point"

    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    epoch: Mapped[int]
    value: Mapped[float]
    attempt: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LogChunk(Base):
    """A piece of an attempt's log, in the order in which it was written."""

    __tablename__ = "log_chunk"

    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Checkpoint(Base):
    """A durable point to resume from."""

    __tablename__ = "checkpoint"
    __table_args__ = (Index("ix_checkpoint_job", "job_id", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"))
    attempt: Mapped[int]
    uri: Mapped[str]
    sha256: Mapped[str]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    metrics: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    #: Whether it lies between two epochs, so that another batch size may go on from it.
    at_epoch_end: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    #: Since then it is no longer offered; retention deletes the object and then the row.
    retired_at: Mapped[datetime | None]


class Artifact(Base):
    """A file that a finished job hands out."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"))
    attempt: Mapped[int]
    name: Mapped[str]
    kind: Mapped[str]
    uri: Mapped[str]
    sha256: Mapped[str]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(Text)
    facts: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Worker(Base):
    """A host that claims jobs."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    boot_id: Mapped[str]
    pid: Mapped[int]
    slots: Mapped[int]
    #: More slots, for kinds that need no accelerator.
    light_slots: Mapped[int] = mapped_column(server_default="0")
    accelerator: Mapped[str]
    #: Of one accelerator; of the host where there is none.
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: What it takes; null: everything.
    kinds: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    #: Since then it takes no new job.
    draining_at: Mapped[datetime | None]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RetrainRequest(Base):
    """A service's wish to have a model trained again, and the job that serves it."""

    __tablename__ = "retrain_request"

    model: Mapped[str] = mapped_column(primary_key=True)
    dedupe_key: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    reason: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("training.job.id", ondelete="cascade"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Outbox(Base):
    """Something that another system must be told, once; written in the transaction that makes it true."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("topic", "key"),
        Index("ix_outbox_due", "not_before", postgresql_where=text("done_at is null")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    topic: Mapped[str]
    key: Mapped[str]
    payload: Mapped[JsonObject]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    not_before: Mapped[datetime] = mapped_column(server_default=func.now())
    failures: Mapped[int] = mapped_column(server_default="0")
    last_error: Mapped[str | None]
    done_at: Mapped[datetime | None]
