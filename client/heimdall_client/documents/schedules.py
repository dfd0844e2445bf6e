"""Schedules of retrainings, and drift scores."""

from datetime import datetime

from pydantic import Field

from heimdall_client.documents.document import Document
from heimdall_client.exchanges import Json


class ScheduleOutcome(Document):
    """What came of an occasion."""

    outcome: str
    """``queued``, ``joined``, ``skipped`` or ``refused``."""
    at: datetime | None = None
    job_id: str | None = None
    code: str | None = None
    detail: str | None = None


class Schedule(Document):
    """When a model is trained again, and how that went."""

    id: str
    name: str
    model: str
    when: Json = Field(default_factory=dict)
    retrain: Json = Field(default_factory=dict)
    enabled: bool = True
    min_interval_seconds: int = 0
    owner: str | None = None
    next_run_at: datetime | None = None
    last_run_at: datetime | None = None
    last_outcome: ScheduleOutcome | None = None
    job_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class DriftScore(Document):
    """How far what a model is given lies from what it was trained on."""

    id: str
    model: str
    score: float
    observed_at: datetime | None = None
    source: str = ""
    created_by: str | None = None
    created_at: datetime | None = None
    num_due: int | None = None
    """Schedules whose condition the score met; None: it was listed, not posted."""
