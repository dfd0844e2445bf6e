"""Models, their versions and their history."""

from datetime import datetime
from typing import Any

from pydantic import Field

from heimdall_client.documents.document import Document, OpenEnum
from heimdall_client.documents.jobs import Artifact, Job


class Model(Document):
    """A line of model versions."""

    name: str
    champion_version: int | None = None
    previous_version: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    num_versions: int | None = None
    """Only in lists, as ``newest_version`` and ``champion``."""
    newest_version: int | None = None
    champion: dict[str, Any] | None = None
    """Metrics, dataset and verification of the version in use."""


class DatasetReference(Document):
    """A dataset version."""

    name: str
    version: int
    digest: str | None = None


class OnnxFile(Document):
    """The ONNX file that is served."""

    sha256: str
    bytes: int
    download_url: str
    """Presigned; expires."""
    uri: str | None = None


class Export(OnnxFile):
    """One exported file."""

    name: str
    precision: str | None = None
    opset: int | None = None
    include_frontend: bool = False
    verification: dict[str, Any] | None = None


class ModelVersion(Document):
    """A registered model."""

    name: str
    version: int
    onnx: OnnxFile
    aliases: list[str] = Field(default_factory=list)
    """``champion``, ``previous``, or none."""
    metrics: dict[str, Any] = Field(default_factory=dict)
    """On the test split."""
    exports: list[Export] = Field(default_factory=list)
    verification: dict[str, Any] | None = None
    """None: it cannot be promoted."""
    promotion: dict[str, Any] | None = None
    lineage: dict[str, Any] = Field(default_factory=dict)
    dataset: DatasetReference | None = None
    job_id: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    mlflow_run_id: str | None = None
    mlflow_version: str | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    artifacts: list[Artifact] = Field(default_factory=list)
    """Every file of its job; only where one version was asked for."""


class ModelEventKind(OpenEnum):
    """What happens to models."""

    REGISTERED = "model.registered"
    PROMOTED = "model.promoted"
    PROMOTION_REFUSED = "model.promotion_refused"
    PROMOTION_WAITS = "model.promotion_waits"
    ROLLED_BACK = "model.rolled_back"


class ModelEvent(Document):
    """A line of a model's history."""

    id: str
    event: ModelEventKind
    model: str
    version: int
    former_version: int | None = None
    actor: str | None = None
    job_id: str | None = None
    reason: str | None = None
    forced: bool = False
    verdict: dict[str, Any] | None = None
    at: datetime | None = None


class Check(Document):
    """One condition of the gate."""

    name: str
    passed: bool
    detail: str
    challenger: float | None = None
    champion: float | None = None
    limit: float | None = None
    """What the challenger's value may be at most."""


class Verdict(Document):
    """What the gate says of a version."""

    passed: bool
    checks: list[Check]
    champion_version: int | None = None
    """The champion that it was measured against; None: there is none."""
    dataset: DatasetReference | None = None
    num_sessions: int | None = None
    evaluate: list[dict[str, Any]] = Field(default_factory=list)
    """Specifications of jobs after which the two can be compared."""


class Promotion(Document):
    """What a promotion or a rollback came to."""

    model: Model
    changed: bool
    """False: the version was the champion already."""
    event: ModelEvent | None = None


class ModelComparison(Document):
    """Two versions of a model side by side."""

    name: str
    versions: list[dict[str, Any]]
    same_sessions: dict[str, Any] | None = None
    """None: they were not measured on the same sessions."""
    evaluate: list[dict[str, Any]] = Field(default_factory=list)
    """Specifications of jobs after which they can be compared."""


class RetrainOutcome(OpenEnum):
    """What a call for a retraining came to."""

    QUEUED = "queued"
    #: A queued job serves this call too.
    JOINED = "joined"
    #: The same ``dedupe_key`` has had this job before.
    REPEATED = "repeated"


class Retraining(Document):
    """The job of a retraining, and whether this call made it."""

    job: Job
    outcome: RetrainOutcome
    new_sessions: int | None = None
    """Approved since the champion's dataset was frozen."""
    withdrawn_sessions: int | None = None
    left_as_it_is: list[str] = Field(default_factory=list)
    """What this call asked for otherwise than the queued job that it joined."""
