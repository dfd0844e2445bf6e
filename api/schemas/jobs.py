"""Jobs on the wire."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field

from api.ranges import Content
from api.services import HandoutStore
from heimdall_core.database.job_tables import Artifact, Checkpoint
from heimdall_core.domain.errors import ErrorCategory
from heimdall_core.domain.job import AttemptOutcome, JobKind, JobPhase, JobStatus, Priority
from heimdall_core.domain.spec import TagKey, TagValue
from heimdall_core.jobs.queue_facts import WaitReason
from heimdall_core.jobs.requests import MAX_TAGS


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QueueFacts(_Document):
    """Where a queued job stands."""

    position: int = Field(
        description="1: the next of those that wait for the same slots, in the order of the claim.",
        examples=[3],
    )
    reason: WaitReason = Field(
        description="`not_before`: its time has not come. `quota`: its owner runs as many jobs as one may. "
        "`no_worker`: no live worker can run it. `accelerator_busy`: every slot is taken. "
        "`starting`: a slot is free."
    )
    estimated_start_at: datetime | None = Field(
        description="Median, from how long jobs of its kind took; null: no worker, or no history."
    )
    estimated_start_p90_at: datetime | None = Field(description="In nine of ten cases it starts earlier.")


class JobProgress(_Document):
    """How far a running job is."""

    percent: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    samples_per_second: float | None = None
    eta_seconds: float | None = None
    memory_bytes: int | None = Field(
        default=None, description="What its trainer holds: of one GPU, or of the host where it uses none."
    )


class JobError(_Document):
    """Why a job or an attempt failed."""

    code: str = Field(examples=["storage_unavailable"])
    category: ErrorCategory
    message: str
    retryable: bool
    hint: str | None = None


class AttemptDocument(_Document):
    """One try at a job, by one worker."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome | None
    exit_code: int | None
    error: JobError | None
    peak_host_bytes: int | None = Field(
        default=None, description="Most memory of the host that its trainer had."
    )
    peak_accelerator_bytes: int | None = Field(
        default=None, description="Most memory of one GPU; null: it used none."
    )
    seconds_per_epoch: float | None = Field(default=None, description="Of a training, validation included.")


class JobDocument(_Document):
    """A job. A terminal status (`succeeded`, `failed`, `cancelled`) never changes."""

    id: str
    kind: JobKind
    status: JobStatus
    is_terminal: bool
    phase: JobPhase | None = Field(description="What a running job is doing.")
    spec: dict[str, Any] = Field(description="As accepted, defaults filled in.")
    priority: Priority
    tags: dict[str, str]
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    pause_requested_at: datetime | None
    finish_requested_at: datetime | None
    queue: QueueFacts | None = Field(description="Only while queued.")
    progress: JobProgress | None
    metrics: dict[str, float | None] = Field(description="The newest value of each curve.")
    attempt: int = Field(description="Number of the newest attempt; 0: none yet.")
    attempts: list[AttemptDocument]
    error: JobError | None
    result: dict[str, Any] | None = Field(
        description="Of a training or export: `model`, `metrics`, `onnx`, `mlflow_run_id`. "
        "Of an evaluation: `metrics`, `baselines`, `report`. Of an import: its report."
    )
    parent_job_id: str | None
    trace_id: str | None = Field(
        description="Of the request that made it (W3C Trace Context); its log lines carry it.",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    )
    links: dict[str, str]


class JobView(StrEnum):
    """How much of a job a list holds."""

    FULL = "full"
    BRIEF = "brief"


class JobPage(_Document):
    """Some jobs, newest first."""

    data: list[JobDocument]
    next_cursor: str | None
    has_more: bool


class RetryRequest(BaseModel):
    """How an ended job is tried again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_checkpoint: bool = Field(
        default=False,
        description="Go on from its newest durable checkpoint instead of from the beginning.",
    )


class JobPatch(BaseModel):
    """What of a job shall be otherwise: a merge patch (RFC 7396)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    priority: Priority | None = Field(default=None, examples=["high"])
    tags: Annotated[dict[TagKey, TagValue | None], MaxLen(MAX_TAGS)] | None = Field(
        default=None,
        description="Added to those that there are; null takes one away.",
        examples=[{"campaign": "spring", "draft": None}],
    )


class MetricPointDocument(_Document):
    """A point of a curve."""

    step: int
    epoch: int
    value: float | None = Field(description="Null: not a number.")
    attempt: int


class MetricsDocument(_Document):
    """A job's curves by name, each by step."""

    metrics: dict[str, list[MetricPointDocument]]


class LogDocument(_Document):
    """A piece of an attempt's log."""

    attempt: int
    content: str
    next_after: int = Field(description="Pass it back as `after` to go on.")
    next_before: int | None = Field(
        description="Pass it back as `before`, with `from_end`, for what was written before; null: nothing."
    )


class AttemptList(_Document):
    """Every try at the job, oldest first."""

    data: list[AttemptDocument]


class CheckpointDocument(_Document):
    """A durable point of a training, to resume or export from."""

    id: str
    epoch: int = Field(description="Whole epochs done.")
    step: int
    metrics: dict[str, float | None]
    uri: str
    sha256: str
    bytes: int
    download_url: str = Field(description="Presigned; expires.")
    attempt: int
    created_at: datetime


class CheckpointList(_Document):
    """The job's durable checkpoints, that which got furthest first."""

    data: list[CheckpointDocument]


class ArtifactDocument(_Document):
    """A file that the job handed out."""

    name: str
    kind: str
    uri: str
    sha256: str
    bytes: int
    media_type: str
    download_url: str = Field(description="Presigned; expires.")
    content_url: str = Field(description="Of this service, with a key; takes `Range`.")
    facts: dict[str, Any]
    attempt: int
    created_at: datetime


class ArtifactList(_Document):
    """The job's files, by name."""

    data: list[ArtifactDocument]


def artifact_document(artifact: Artifact, store: HandoutStore) -> ArtifactDocument:
    """The wire form of an artifact."""
    return ArtifactDocument(
        name=artifact.name,
        kind=artifact.kind,
        uri=artifact.uri,
        sha256=artifact.sha256,
        bytes=artifact.num_bytes,
        media_type=artifact.media_type,
        download_url=store.presign_get(artifact.uri),
        content_url=f"/v1/jobs/{artifact.job_id}/artifacts/{quote(artifact.name, safe='')}",
        facts=artifact.facts,
        attempt=artifact.attempt,
        created_at=artifact.created_at,
    )


def content_of(artifact: Artifact) -> Content:
    """What of an artifact is downloaded."""
    return Content(
        uri=artifact.uri,
        name=artifact.name,
        sha256=artifact.sha256,
        num_bytes=artifact.num_bytes,
        media_type=artifact.media_type,
    )


def checkpoint_document(checkpoint: Checkpoint, store: HandoutStore) -> CheckpointDocument:
    """The wire form of a checkpoint."""
    return CheckpointDocument(
        id=checkpoint.id,
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        metrics=checkpoint.metrics,
        uri=checkpoint.uri,
        sha256=checkpoint.sha256,
        bytes=checkpoint.num_bytes,
        download_url=store.presign_get(checkpoint.uri),
        attempt=checkpoint.attempt,
        created_at=checkpoint.created_at,
    )
