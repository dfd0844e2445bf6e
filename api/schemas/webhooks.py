"""Webhooks on the wire: endpoints, deliveries, and the messages that are sent."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.events import EventDocument
from heimdall_core.database.notification_tables import WebhookDelivery, WebhookEndpoint
from heimdall_core.domain.job import JobKind
from heimdall_core.notifications.deliveries import DeliveryStatus
from heimdall_core.notifications.endpoints import EndpointWish
from heimdall_core.notifications.stream import NAME_PATTERN
from heimdall_core.notifications.targets import MAX_URL_CHARS

_MAX_NAMES = 50
EventName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARS)]
Description = Annotated[str, StringConstraints(max_length=500)]
Names = Annotated[list[EventName], Field(min_length=1, max_length=_MAX_NAMES)]
Kinds = Annotated[list[JobKind], Field(max_length=len(JobKind))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookEndpointBody(_Body):
    """A URL that wants to be told."""

    url: Url = Field(
        description="Public and https, unless the service's settings allow more.",
        examples=["https://example.org/hooks/heimdall"],
    )
    description: Description = ""
    events: Names = Field(
        default=["*"],
        description="Names of events; `*` at the end stands for anything.",
        examples=[["job.succeeded", "job.failed", "model.*"]],
    )
    kinds: Kinds = Field(
        default=[], description="Only of jobs of these kinds; empty: of every kind, and of models."
    )
    all_owners: bool = Field(default=False, description="Also of other owners' jobs; for admins.")
    enabled: bool = True

    def wish(self) -> EndpointWish:
        """What it asks for."""
        return EndpointWish(**self.model_dump())


class WebhookEndpointPatch(_Body):
    """What is to change; what is left out stays."""

    url: Url | None = None
    description: Description | None = None
    events: Names | None = None
    kinds: Kinds | None = None
    all_owners: bool | None = None
    enabled: bool | None = Field(
        default=None, description="True: it is told of what happens from then on, and of what still waits."
    )

    def wish(self) -> EndpointWish:
        """What it asks for."""
        return EndpointWish(**self.model_dump())


class WebhookEndpointDocument(BaseModel):
    """Whom to tell, and of what."""

    id: str = Field(examples=["whe_x4r2k7abcdefghijklmnop23"])
    url: str
    description: str
    events: list[str]
    kinds: list[JobKind]
    all_owners: bool
    owner: str
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: Literal["request", "gone", "failing"] | None = Field(
        description="`gone`: the receiver answered 410. `failing`: it took nothing for three days."
    )
    last_success_at: datetime | None
    former_secret_until: datetime | None = Field(
        description="Until then messages carry a signature by the former secret too."
    )
    created_at: datetime
    updated_at: datetime


class NewWebhookEndpointDocument(WebhookEndpointDocument):
    """An endpoint with its secret, which no other answer shows."""

    secret: str | None = Field(
        default=None,
        description="What its messages are signed with: keep it. A repeated request does not show it again.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
    )


class WebhookAttemptDocument(BaseModel):
    """One try to deliver."""

    number: int
    at: datetime
    status_code: int | None = Field(description="Null: no answer came.")
    error: str | None = Field(description="Null: the receiver took it.")
    duration_ms: float


class WebhookDeliveryDocument(BaseModel):
    """A message to an endpoint."""

    id: str = Field(examples=["whd_x4r2k7abcdefghijklmnop23"])
    endpoint_id: str
    message_id: str = Field(
        description="The header `webhook-id`: the event's id, the same at every attempt.", examples=["evt_42"]
    )
    event: str
    status: DeliveryStatus
    num_attempts: int
    attempts: list[WebhookAttemptDocument] = Field(description="The newest, oldest first.")
    next_attempt_at: datetime | None = Field(description="While pending: when it is due, or taken for lost.")
    created_at: datetime
    finished_at: datetime | None


class WebhookEventData(EventDocument):
    """The event that a message is about."""

    complete: bool = Field(description="False: the event's own `data` were too large and are left out.")


class WebhookMessage(BaseModel):
    """What a webhook is sent, signed as Standard Webhooks 1.0 says."""

    type: str = Field(description="Name of the event.", examples=["job.succeeded"])
    timestamp: datetime = Field(description="When it happened.")
    data: WebhookEventData


class WebhookTestData(BaseModel):
    """Which endpoint is tested."""

    endpoint_id: str


class WebhookTestMessage(BaseModel):
    """What `:test` sends."""

    type: Literal["webhook.test"]
    timestamp: datetime
    data: WebhookTestData


def endpoint_document(row: WebhookEndpoint) -> WebhookEndpointDocument:
    """The wire form of an endpoint."""
    return WebhookEndpointDocument.model_validate(_fields(row))


def new_endpoint_document(row: WebhookEndpoint, secret: str) -> NewWebhookEndpointDocument:
    """The wire form of an endpoint together with its secret."""
    return NewWebhookEndpointDocument.model_validate({**_fields(row), "secret": secret})


def delivery_document(row: WebhookDelivery) -> WebhookDeliveryDocument:
    """The wire form of a delivery."""
    return WebhookDeliveryDocument(
        id=row.id,
        endpoint_id=row.endpoint_id,
        message_id=row.message_id,
        event=row.event,
        status=DeliveryStatus(row.status),
        num_attempts=row.num_attempts,
        attempts=[WebhookAttemptDocument.model_validate(attempt) for attempt in row.attempts],
        next_attempt_at=row.next_attempt_at if row.status == DeliveryStatus.PENDING else None,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _fields(row: WebhookEndpoint) -> dict[str, Any]:
    names = [name for name in WebhookEndpointDocument.model_fields if name != "enabled"]
    return {**{name: getattr(row, name) for name in names}, "enabled": row.disabled_at is None}
