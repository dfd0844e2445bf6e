"""What the pipeline needs of the outside world; real adapters and their fakes pass the same tests."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from heimdall_core.domain.job import JobPhase

ArtifactKind = Literal["onnx", "checkpoint", "report", "plot", "manifest", "sessions"]
StopRequest = Literal["cancel", "pause", "shutdown", "time_limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object that is durable: uploaded, and its checksum known."""

    uri: str
    sha256: str
    num_bytes: int
    media_type: str = "application/octet-stream"


class ObjectStore(Protocol):
    """S3, or a folder that behaves like it. URIs are ``s3://bucket/key``.

    Raises:
        NotFound: the object is absent.
        StorageUnavailable: the store did not answer, or refused.
    """

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """The object, or a range of it."""
        ...

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = ...) -> StoredObject:
        """Stores and returns what was stored."""
        ...

    def put_file(self, uri: str, path: Path, *, media_type: str = ...) -> StoredObject:
        """Uploads a file; its size is confirmed by the store before this returns."""
        ...

    def get_file(self, uri: str, path: Path) -> None:
        """Downloads to a file, atomically."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is."""

    percent: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    samples_per_second: float | None = None
    eta_seconds: float | None = None
    memory_bytes: int | None = None
    """What the process holds now: of its GPU, or of the host where it uses none."""

    def to_dict(self) -> dict[str, Any]:
        """The wire form."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that the job hands out."""

    name: str
    kind: ArtifactKind
    object: StoredObject
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A durable point to resume from."""

    object: StoredObject
    epoch: int
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    at_epoch_end: bool = True
    """Whether it lies between two epochs."""


class Reporter(Protocol):
    """Where a job says how it goes. No method blocks for long and none raises."""

    def phase(self, phase: JobPhase) -> None:
        """A new phase begins."""
        ...

    def progress(self, progress: Progress) -> None:
        """Throttled by the reporter: call as often as is convenient."""
        ...

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Points of the job's curves; a point written again replaces the former."""
        ...

    def event(self, name: str, **data: Any) -> None:
        """Something worth a line in the job's history."""
        ...

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """A durable checkpoint exists."""
        ...

    def artifact(self, artifact: Artifact) -> None:
        """A file exists; it is published when the job ends."""
        ...

    def stop_requested(self) -> StopRequest | None:
        """Whether the job must end at the next safe point, and why."""
        ...

    def finish_requested(self) -> bool:
        """Whether the training shall end now and the job go on with the best weights so far."""
        ...


class JobStopped(BaseException):
    """Raised at a safe point after a stop was requested."""

    def __init__(self, request: StopRequest) -> None:
        super().__init__(request)
        self.request = request
