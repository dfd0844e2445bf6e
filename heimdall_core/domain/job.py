"""What a job can be, and how it may change."""

from enum import StrEnum


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    EXPORT = "export"
    EVALUATE = "evaluate"
    IMPORT = "import"


class JobStatus(StrEnum):
    """Where a job stands. A terminal status never changes."""

    #: Accepted and waiting for a worker; the row alone makes it a job.
    QUEUED = "queued"
    #: One attempt holds the lease.
    RUNNING = "running"
    #: Checkpointed on request; waits for ``:resume``.
    PAUSED = "paused"
    #: Its result is published. Terminal.
    SUCCEEDED = "succeeded"
    #: Its error says why. Terminal.
    FAILED = "failed"
    #: Ended on request. Terminal.
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether this status is the last."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset(
        {
            JobStatus.SUCCEEDED,
            JobStatus.FAILED,
            JobStatus.CANCELLED,
            JobStatus.PAUSED,
            JobStatus.QUEUED,
        }
    ),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}


class JobPhase(StrEnum):
    """What a running job is doing."""

    PREPARING = "preparing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    EXPORTING = "exporting"
    REGISTERING = "registering"


class Priority(StrEnum):
    """Which queued job goes first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Higher goes first."""
        return {"low": 0, "normal": 1, "high": 2}[self.value]


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Checkpointed and stopped on request; the job waits for ``:resume``.
    PAUSED = "paused"
    #: Given back unfinished: shutdown of the worker. Costs no retry.
    PREEMPTED = "preempted"
    #: Its lease ran out.
    LOST = "lost"
