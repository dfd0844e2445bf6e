"""Jobs and what they report."""

from datetime import datetime
from typing import Any

from pydantic import Field

from heimdall_client.documents.document import Document, OpenEnum


class JobKind(OpenEnum):
    """What a job does."""

    TRAIN = "train"
    EXPORT = "export"
    EVALUATE = "evaluate"
    IMPORT = "import"


class JobStatus(OpenEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(OpenEnum):
    """Which queued job goes first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class QueuePlace(Document):
    """Where a queued job stands."""

    position: int | None = None
    reason: str | None = None
    estimated_start_at: datetime | None = None
    """Median."""
    estimated_start_p90_at: datetime | None = None


class Progress(Document):
    """How far a running job is."""

    percent: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    samples_per_second: float | None = None
    eta_seconds: float | None = None
    memory_bytes: int | None = None


class JobError(Document):
    """Why a job or an attempt failed."""

    code: str
    message: str = ""
    category: str | None = None
    retryable: bool = False
    hint: str | None = None


class Attempt(Document):
    """One try at a job, by one worker."""

    number: int
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    exit_code: int | None = None
    error: JobError | None = None
    peak_host_bytes: int | None = None
    """The most memory of the host that its trainer had."""
    peak_accelerator_bytes: int | None = None
    """The most of one GPU; None: it used none."""
    seconds_per_epoch: float | None = None
    """Of a training, validation included."""


class Job(Document):
    """A job. One that ``is_terminal`` never changes."""

    id: str
    kind: JobKind
    status: JobStatus
    is_terminal: bool
    phase: str | None = None
    """What a running job is doing."""
    spec: dict[str, Any] = Field(default_factory=dict)
    """As accepted, defaults filled in."""
    priority: Priority | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    created_by: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    pause_requested_at: datetime | None = None
    finish_requested_at: datetime | None = None
    queue: QueuePlace | None = None
    """Only while queued."""
    progress: Progress | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """The newest value of each curve."""
    attempt: int = 0
    attempts: list[Attempt] = Field(default_factory=list)
    error: JobError | None = None
    result: dict[str, Any] | None = None
    parent_job_id: str | None = None
    trace_id: str | None = None
    """Of the request that made it (W3C Trace Context)."""
    links: dict[str, str] = Field(default_factory=dict)
    duplicate_of: str | None = None
    """Of an answer to ``create`` with ``on_duplicate: return``: this job was there before."""

    @property
    def is_successful(self) -> bool:
        """Whether its result is published."""
        return self.status == JobStatus.SUCCEEDED


class Event(Document):
    """A line of a history; its id is the same in pages, streams and webhooks."""

    id: str
    event: str
    """Such as ``job.queued``."""
    job_id: str | None = None
    kind: JobKind | None = None
    model: str | None = None
    attempt: int | None = None
    created_at: datetime | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class MetricPoint(Document):
    """A point of a curve."""

    step: int
    value: float | None = None
    """None: not a number."""
    epoch: int | None = None
    attempt: int | None = None


class Metrics(Document):
    """A job's curves by name, each by step."""

    metrics: dict[str, list[MetricPoint]]


class Log(Document):
    """What an attempt wrote."""

    attempt: int
    content: str
    next_after: int = 0
    next_before: int | None = None
    """Number of the first piece; None: nothing was written before it."""


class SpecMember(Document):
    """A scalar or a list of a job's specification."""

    pointer: str
    value: Any = None
    default: Any = None
    is_default: bool = False
    is_required: bool = False
    description: str | None = None


class JobSpec(Document):
    """A job's specification, member by member, beside the defaults of the service."""

    kind: JobKind
    members: list[SpecMember] = Field(default_factory=list)


class Checkpoint(Document):
    """A durable point of a training, to resume or export from."""

    id: str
    epoch: int
    step: int
    sha256: str
    bytes: int
    uri: str | None = None
    download_url: str | None = None
    """Presigned; expires."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    attempt: int | None = None
    created_at: datetime | None = None


class Artifact(Document):
    """A file that a job handed out."""

    name: str
    sha256: str
    bytes: int
    kind: str | None = None
    media_type: str | None = None
    uri: str | None = None
    content_url: str | None = None
    """Of the service, with a key; takes ``Range``."""
    download_url: str | None = None
    """Presigned; expires."""
    facts: dict[str, Any] = Field(default_factory=dict)
    attempt: int | None = None
    created_at: datetime | None = None


class ComparedJob(Document):
    """One of several jobs side by side."""

    id: str
    kind: JobKind
    status: JobStatus
    duration_seconds: float | None = None
    """From its first start to its end."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    error: JobError | None = None
    result: dict[str, Any] | None = None


class SpecDifference(Document):
    """A member of the specification in which jobs differ."""

    pointer: str
    """Such as ``/training/learning_rate``."""
    values: list[Any]
    """Of each job, in their order."""


class JobComparison(Document):
    """Jobs side by side, in the order in which they were named."""

    jobs: list[ComparedJob]
    differences: list[SpecDifference] = Field(default_factory=list)
    curves: dict[str, dict[str, list[MetricPoint]]] = Field(default_factory=dict)
    """Name of the curve -> id of the job -> points."""


class Finding(Document):
    """What a job would be refused for, or taken in spite of."""

    code: str
    detail: str
    pointer: str | None = None
    hint: str | None = None


class JobValidation(Document):
    """What a submission would come to; nothing was queued."""

    valid: bool
    """Whether it would be taken now."""
    problems: list[Finding] = Field(default_factory=list)
    warnings: list[Finding] = Field(default_factory=list)
    spec: dict[str, Any] | None = None
    """As it would be accepted; None: it would not."""
    facts: dict[str, Any] = Field(default_factory=dict)
    estimates: dict[str, Any] = Field(default_factory=dict)


class LineageNode(Document):
    """A job, a model version or a dataset version."""

    id: str
    type: str
    kind: str | None = None
    status: str | None = None
    created_at: datetime | None = None
    link: str | None = None


class LineageEdge(Document):
    """The target was made with the source."""

    source: str
    target: str
    relation: str


class Lineage(Document):
    """Ancestors and descendants, as a graph without cycles."""

    of: str
    nodes: list[LineageNode] = Field(default_factory=list)
    edges: list[LineageEdge] = Field(default_factory=list)
    is_truncated: bool = False
