"""The queue, the workers, and whether the service is ready."""

from datetime import datetime

from pydantic import Field

from heimdall_client.documents.document import Document


class Waiting(Document):
    """The queued jobs that wait for the same reason."""

    reason: str
    num_jobs: int
    oldest_queued_at: datetime | None = None


class RecentWait(Document):
    """How long jobs of one kind waited that were submitted within a day and have started."""

    kind: str
    num_jobs: int
    p50_seconds: float
    p90_seconds: float


class Queue(Document):
    """How many jobs wait and run, why they wait, and how long jobs have waited of late."""

    queued: int
    running: int
    paused: int = 0
    oldest_queued_at: datetime | None = None
    waiting: list[Waiting] = Field(default_factory=list)
    recent_waits: list[RecentWait] = Field(default_factory=list)


class Worker(Document):
    """A host that runs jobs."""

    name: str
    host: str | None = None
    slots: int | None = None
    light_slots: int | None = None
    kinds: list[str] | None = None
    accelerator: str | None = None
    memory_bytes: int | None = None
    draining: bool = False
    is_alive: bool = True
    running_job_ids: list[str] = Field(default_factory=list)
    started_at: datetime | None = None
    last_seen_at: datetime | None = None


class Readiness(Document):
    """What the service can reach."""

    ready: bool
    database: str | None = None
    redis: str | None = None
    storage: str | None = None
    tracking: str | None = None
    """Of MLflow's server; ``not_used``: the service has none."""
