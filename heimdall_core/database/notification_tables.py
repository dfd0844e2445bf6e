"""The stream of events, and the webhooks that tell of it."""

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
from heimdall_core.database.catalogue_tables import ModelEvent
from heimdall_core.database.job_tables import JobEvent

#: What PostgreSQL notifies when events are committed, or a webhook wants to be looked at.
CHANNEL = "heimdall_events"


class Event(Base):
    """A place in the one stream of job and model events, given out at the commit.

    Triggers on both tables of events write it, one transaction after another: whoever sees an id has seen
    every lower one. See docs/decisions/0012.
    """

    __tablename__ = "event"
    __table_args__ = (
        CheckConstraint("num_nonnulls(job_event_id, model_event_id) = 1", name="source"),
        UniqueConstraint("job_event_id"),
        UniqueConstraint("model_event_id"),
        Index("ix_event_job", "job_id", "id"),
        Index("ix_event_owner", "owner", "id"),
        Index("ix_event_model", "model", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str]
    #: The job that it is about, or by which a model's event happened.
    job_id: Mapped[str | None]
    job_kind: Mapped[str | None]
    model: Mapped[str | None]
    #: Whose job it is about; null: a model's event, which has no owner.
    owner: Mapped[str | None]
    job_event_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey(JobEvent.id, ondelete="cascade"))
    model_event_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey(ModelEvent.id, ondelete="cascade")
    )


class WebhookEndpoint(Base):
    """A URL that wants to be told."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index("ix_webhook_endpoint_page", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    url: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    #: Names of events; a ``*`` at the end stands for anything.
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    #: Only events of jobs of these kinds; empty: of every kind, and of models.
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    #: Whether it is told of everybody's jobs.
    all_owners: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Whether its maker may see models.
    sees_models: Mapped[bool] = mapped_column(server_default=text("false"))
    #: As ``notifications.secrets`` keeps them.
    secret: Mapped[str]
    former_secret: Mapped[str | None]
    #: Until then deliveries carry a signature by the former secret too.
    former_secret_until: Mapped[datetime | None]
    #: It is told of events above this id alone.
    after_event_id: Mapped[int] = mapped_column(BigInteger)
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    last_success_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Base):
    """One message to one endpoint, sent until it is taken."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint("status in ('pending','succeeded','failed')", name="status"),
        UniqueConstraint("endpoint_id", "message_id"),
        Index(
            "ix_webhook_delivery_due",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_delivery_page", "endpoint_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("training.webhook_endpoint.id", ondelete="cascade"))
    #: The header ``webhook-id``: that of the event, and the same at every attempt.
    message_id: Mapped[str]
    event: Mapped[str]
    #: The bytes that are signed and sent.
    body: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    #: The newest one's number is its fence.
    num_attempts: Mapped[int] = mapped_column(server_default="0")
    #: Those before it was last replayed.
    attempts_before: Mapped[int] = mapped_column(server_default="0")
    #: When it is due; while an attempt runs, when that counts as lost.
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    #: The newest attempts, oldest first.
    attempts: Mapped[list[JsonObject]] = mapped_column(server_default=text("'[]'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class WebhookCursor(Base):
    """Up to which event deliveries have been made; one row."""

    __tablename__ = "webhook_cursor"

    name: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(BigInteger)
