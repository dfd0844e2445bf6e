"""Jobs looked at before they run, side by side, and in their line of descent, on the wire."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, RootModel

from api.schemas.jobs import JobError, JobProgress, QueueFacts
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.jobs.lineage import Relation
from heimdall_core.jobs.memory_estimates import MemoryEstimate
from heimdall_core.jobs.spans import Span
from heimdall_core.jobs.validation import (
    DatasetFacts,
    Finding,
    JobValidation,
    StartFacts,
    TwinFacts,
)


class JobRequestSchema(RootModel[dict[str, Any]]):
    """The JSON Schema (2020-12) of the body of `POST /v1/jobs`, with titles, units, bounds and defaults."""


class Facts(BaseModel):
    """What the request refers to."""

    dataset: DatasetFacts | None = None
    init_from: StartFacts | None = None
    duplicate_of: TwinFacts | None = None


class Estimates(BaseModel):
    """What the job would probably take; null: nothing is known of it."""

    queue: QueueFacts | None = Field(default=None, description="Where it would stand if it were queued now.")
    basis: Literal["history", "other_networks", "nothing"] = Field(
        default="nothing",
        description="What the times rest on. `history`: like jobs that succeeded. `other_networks`: "
        "trainings of other backbones, by the arithmetic that each costs, so with a wide range. `nothing`: "
        "they are unknown.",
    )
    num_like_jobs: int = Field(
        default=0,
        description="Succeeded trainings with this backbone and devices (else: jobs of the kind) that the "
        "figures are from; 0: they are unknown.",
    )
    duration_seconds: Span | None = Field(
        default=None, description="Of a training with all its epochs: early stopping ends it sooner."
    )
    seconds_per_epoch: Span | None = Field(
        default=None, description="Of a training, the validation included."
    )
    samples_per_second: float | None = Field(default=None, description="Sessions, median of like jobs.")
    memory: MemoryEstimate | None = Field(
        default=None, description="Of a training, with what it rests on and what the workers have."
    )


class ValidationDocument(BaseModel):
    """A request for a job, looked at; nothing was queued."""

    valid: bool = Field(description="Whether `POST /v1/jobs` would take it now.")
    problems: list[Finding] = Field(description="What it would be refused for.")
    warnings: list[Finding] = Field(description="What it would be taken in spite of.")
    spec: dict[str, Any] | None = Field(
        description="As it would be accepted, defaults and versions filled in; null: it would not."
    )
    facts: Facts
    estimates: Estimates


def validation_document(found: JobValidation) -> ValidationDocument:
    """The wire form of a validation."""
    expected = found.expectations
    estimates = Estimates(queue=None if found.queue is None else QueueFacts(**_queue_members(found)))
    if expected is not None:
        estimates.basis = expected.basis
        estimates.seconds_per_epoch = expected.seconds_per_epoch
        estimates.num_like_jobs = expected.num_like_jobs
        estimates.duration_seconds = expected.duration_seconds
        estimates.samples_per_second = expected.samples_per_second
        estimates.memory = expected.memory
    return ValidationDocument(
        valid=not found.problems,
        problems=list(found.problems),
        warnings=list(found.warnings),
        spec=None if found.spec is None else dict(found.spec),
        facts=Facts(dataset=found.dataset, init_from=found.init_from, duplicate_of=found.duplicate_of),
        estimates=estimates,
    )


def _queue_members(found: JobValidation) -> dict[str, Any]:
    queue = found.queue
    assert queue is not None
    return {
        "position": queue.position,
        "reason": queue.reason,
        "estimated_start_at": queue.estimated_start_at,
        "estimated_start_p90_at": queue.estimated_start_p90_at,
    }


class ComparedJob(BaseModel):
    """One of the jobs."""

    id: str
    kind: JobKind
    status: JobStatus
    tags: dict[str, str]
    created_at: datetime
    duration_seconds: float | None = Field(description="From its first start to its end.")
    progress: JobProgress | None
    metrics: dict[str, float | None] = Field(description="The newest value of each curve.")
    error: JobError | None
    result: dict[str, Any] | None = Field(description="`model`, `metrics`, `onnx`, `mlflow_run_id`.")
    links: dict[str, str]


class SpecDifference(BaseModel):
    """A member of the specification in which the jobs differ."""

    pointer: str = Field(examples=["/training/learning_rate"])
    values: list[Any] = Field(description="Of each job, in their order; null: null, or not there.")


class CurvePoint(BaseModel):
    """A point of a curve."""

    step: int
    epoch: int
    value: float | None = Field(description="Null: not a number.")


class JobComparison(BaseModel):
    """Jobs side by side, in the order in which they were named."""

    jobs: list[ComparedJob]
    differences: list[SpecDifference]
    curves: dict[str, dict[str, list[CurvePoint]]] = Field(
        description="Name of the curve -> id of the job -> points, by step; the last one is always there."
    )


class LineageNode(BaseModel):
    """Something that takes part."""

    id: str = Field(examples=["model_version:localization/7"])
    type: Literal["job", "model_version", "dataset_version"]
    kind: str | None = Field(description="Of a job, or of the job that registered a version.")
    status: str | None = Field(description="Of a job that the caller may see.")
    created_at: datetime | None
    link: str | None = Field(description="Null: a job that is another owner's.")


class LineageEdge(BaseModel):
    """The target was made with the source."""

    source: str = Field(examples=["job:job_x4r2k7abcdefghijklmnop23"])
    target: str = Field(examples=["model_version:localization/7"])
    relation: Relation = Field(
        description="`parent`: the target is a retry or a retraining. `weights`: it exports them. "
        "`init_from`: it started from them. `exported`, `evaluated`: the version was. `dataset`: it read it. "
        "`registered`: it made the version."
    )


class JobLineage(BaseModel):
    """Ancestors and descendants, as a graph without cycles."""

    of: str = Field(examples=["job:job_x4r2k7abcdefghijklmnop23"])
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    is_truncated: bool = Field(description="True: there are more than 500 in one direction.")
