"""Schedules and triggers of retrainings, and the drift scores that some of them wait for."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from heimdall_core.database.base import Base, JsonObject


class Schedule(Base):
    """When a model is trained again, and how."""

    __tablename__ = "schedule"
    __table_args__ = (
        CheckConstraint("kind in ('cron','new_sessions','drift')", name="kind"),
        CheckConstraint("(next_run_at is null) = (occurrence_at is null)", name="occurrence"),
        Index("ix_schedule_due", "next_run_at", postgresql_where=text("enabled and next_run_at is not null")),
        Index("ix_schedule_drift", "model", postgresql_where=text("enabled and kind = 'drift'")),
        Index("ix_schedule_page", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    #: Whose jobs it queues.
    owner: Mapped[str]
    name: Mapped[str]
    #: No foreign key: a schedule outlives its model, and says so.
    model: Mapped[str]
    #: The ``type`` of its condition.
    kind: Mapped[str]
    condition: Mapped[JsonObject]
    #: What a run asks for.
    retrain: Mapped[JsonObject]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    #: After a job no other is queued for so long.
    min_interval_seconds: Mapped[int] = mapped_column(server_default="0")
    #: The occasion of the next run: with the id it is what a repetition is known by.
    occurrence_at: Mapped[datetime | None]
    #: When that is acted on: later by the jitter, or by a failure of the store; null: nothing is due.
    next_run_at: Mapped[datetime | None]
    #: When it last got a job.
    last_run_at: Mapped[datetime | None]
    last_outcome: Mapped[JsonObject | None]
    #: The job that it got last.
    job_id: Mapped[str | None] = mapped_column(ForeignKey("training.job.id", ondelete="set null"))
    #: Drift scores that came earlier do not count.
    counts_from: Mapped[datetime] = mapped_column(server_default=func.now())
    #: State of the catalogue at the last count of new sessions: while it is the same nothing is counted.
    catalogue_state: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DriftScore(Base):
    """How far what a model is given lies from what it was trained on, as its user measured it."""

    __tablename__ = "drift_score"
    __table_args__ = (
        UniqueConstraint("model", "source", "observed_at"),
        Index("ix_drift_score_model_observed_at", "model", "observed_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("training.model.name", ondelete="cascade"))
    score: Mapped[float]
    observed_at: Mapped[datetime]
    #: Who measured it, such as a host; empty: not said.
    source: Mapped[str] = mapped_column(server_default="")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
