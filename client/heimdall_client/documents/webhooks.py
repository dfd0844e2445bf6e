"""Webhook endpoints and what was delivered to them."""

from datetime import datetime

from pydantic import Field

from heimdall_client.documents.document import Document, OpenEnum


class DeliveryStatus(OpenEnum):
    """What became of a message."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class WebhookEndpoint(Document):
    """Whom to tell, and of what."""

    id: str
    url: str
    description: str = ""
    events: list[str] = Field(default_factory=list)
    kinds: list[str] = Field(default_factory=list)
    all_owners: bool = False
    owner: str | None = None
    enabled: bool = True
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    last_success_at: datetime | None = None
    former_secret_until: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class NewWebhookEndpoint(WebhookEndpoint):
    """An endpoint with its secret, which no other answer shows."""

    secret: str | None = Field(default=None, repr=False)
    """``whsec_...``. None: the answer that showed it was lost; rotate it."""


class WebhookAttempt(Document):
    """One try to deliver."""

    number: int
    at: datetime | None = None
    status_code: int | None = None
    error: str | None = None
    duration_ms: float | None = None


class WebhookDelivery(Document):
    """A message to an endpoint."""

    id: str
    event: str
    status: DeliveryStatus
    endpoint_id: str | None = None
    message_id: str | None = None
    """The header ``webhook-id``, the same at every attempt."""
    num_attempts: int = 0
    attempts: list[WebhookAttempt] = Field(default_factory=list)
    next_attempt_at: datetime | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
