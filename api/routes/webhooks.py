"""Webhook endpoints and their deliveries."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from api.dependencies import Composition, Cursor, Limit, NamedCaller, Once, Transaction, needs
from api.schemas.pages import PageDocument, page_document
from api.schemas.webhooks import (
    NewWebhookEndpointDocument,
    WebhookDeliveryDocument,
    WebhookEndpointBody,
    WebhookEndpointDocument,
    WebhookEndpointPatch,
    WebhookMessage,
    WebhookTestMessage,
    delivery_document,
    endpoint_document,
    new_endpoint_document,
)
from api.services import Services
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.ids import ID_PATTERN
from heimdall_core.database.notification_tables import WebhookDelivery, WebhookEndpoint
from heimdall_core.notifications import deliveries
from heimdall_core.notifications.deliveries import DeliveryStatus
from heimdall_core.notifications.endpoints import (
    EndpointMaker,
    change_endpoint,
    create_endpoint,
    find_endpoint,
    list_endpoints,
    rotate_secret,
)
from heimdall_core.notifications.secrets import SecretBox

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[needs("webhooks:write")])
#: What the service itself calls: a part of the document, not of the application.
messages = APIRouter()
_ANSWERS: dict[int | str, dict[str, Any]] = {
    204: {"description": "Taken; any other 2xx says so too."},
    410: {"description": "Nothing more is wanted: the endpoint is disabled."},
    "default": {"description": "Not taken: it is sent again."},
}

EndpointId = Annotated[str, Path(pattern=ID_PATTERN, examples=["whe_x4r2k7abcdefghijklmnop23"])]
DeliveryId = Annotated[str, Path(pattern=ID_PATTERN, examples=["whd_x4r2k7abcdefghijklmnop23"])]


@router.get("/webhook-endpoints")
def list_webhook_endpoints(
    caller: NamedCaller, session: Transaction, cursor: Cursor = None, limit: Limit = 50
) -> PageDocument[WebhookEndpointDocument]:
    """Your endpoints, newest first; an admin's: everybody's."""
    page = list_endpoints(session, owner=caller.writable_owner, cursor=cursor, limit=limit)
    return page_document(page, endpoint_document)


@router.post("/webhook-endpoints", status_code=201, response_model=NewWebhookEndpointDocument)
def create_webhook_endpoint(
    body: WebhookEndpointBody,
    caller: NamedCaller,
    session: Transaction,
    services: Composition,
    once: Once,
) -> Response:
    """Adds an endpoint that is told of what happens from now on; this answer alone shows its secret."""

    def create() -> Answer:
        settings = services.settings.webhooks
        return _created(create_endpoint(session, body.wish(), _maker(caller), settings), services)

    return once.answer(create, secret="secret")  # noqa: S106 - a name


@router.get("/webhook-endpoints/{endpoint_id}")
def read_webhook_endpoint(
    endpoint_id: EndpointId, caller: NamedCaller, session: Transaction
) -> WebhookEndpointDocument:
    """One of your endpoints."""
    return endpoint_document(find_endpoint(session, endpoint_id, owner=caller.writable_owner))


@router.patch("/webhook-endpoints/{endpoint_id}")
def change_webhook_endpoint(
    endpoint_id: EndpointId,
    body: WebhookEndpointPatch,
    caller: NamedCaller,
    session: Transaction,
    services: Composition,
) -> WebhookEndpointDocument:
    """Changes what the body names; also enables an endpoint that was disabled."""
    endpoint = find_endpoint(session, endpoint_id, owner=caller.writable_owner)
    settings = services.settings.webhooks
    return endpoint_document(change_endpoint(session, endpoint, body.wish(), _maker(caller), settings))


@router.delete("/webhook-endpoints/{endpoint_id}", status_code=204)
def delete_webhook_endpoint(endpoint_id: EndpointId, caller: NamedCaller, session: Transaction) -> None:
    """Deletes an endpoint with its deliveries."""
    session.delete(find_endpoint(session, endpoint_id, owner=caller.writable_owner))


@router.post("/webhook-endpoints/{endpoint_id}:rotate-secret", response_model=NewWebhookEndpointDocument)
def rotate_webhook_secret(
    endpoint_id: EndpointId, caller: NamedCaller, session: Transaction, services: Composition, once: Once
) -> Response:
    """Gives an endpoint a new secret, which this answer alone shows; the former signs beside it for a day."""

    def rotate() -> Answer:
        endpoint = find_endpoint(session, endpoint_id, owner=caller.writable_owner)
        rotated = rotate_secret(session, endpoint, _maker(caller), services.settings.webhooks)
        return Answer(status_code=200, body=_with_secret(rotated, services))

    return once.answer(rotate, secret="secret")  # noqa: S106 - a name


@router.post("/webhook-endpoints/{endpoint_id}:test", status_code=202, response_model=WebhookDeliveryDocument)
def send_test_webhook(
    endpoint_id: EndpointId, caller: NamedCaller, session: Transaction, once: Once
) -> Response:
    """Sends a `webhook.test`; the delivery says what came of it."""

    def test() -> Answer:
        endpoint = find_endpoint(session, endpoint_id, owner=caller.writable_owner)
        return _delivering(deliveries.make_test(session, endpoint))

    return once.answer(test)


@router.get("/webhook-endpoints/{endpoint_id}/deliveries")
def list_webhook_deliveries(
    endpoint_id: EndpointId,
    caller: NamedCaller,
    session: Transaction,
    status: DeliveryStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageDocument[WebhookDeliveryDocument]:
    """What was sent to an endpoint in the last 30 days, and how each attempt went; newest first."""
    endpoint = find_endpoint(session, endpoint_id, owner=caller.writable_owner)
    page = deliveries.list_deliveries(session, endpoint, status=status, cursor=cursor, limit=limit)
    return page_document(page, delivery_document)


@router.get("/webhook-deliveries/{delivery_id}")
def read_webhook_delivery(
    delivery_id: DeliveryId, caller: NamedCaller, session: Transaction
) -> WebhookDeliveryDocument:
    """One message, and how each attempt went."""
    return delivery_document(deliveries.find_delivery(session, delivery_id, owner=caller.writable_owner))


@router.post(
    "/webhook-deliveries/{delivery_id}:replay", status_code=202, response_model=WebhookDeliveryDocument
)
def replay_webhook_delivery(
    delivery_id: DeliveryId, caller: NamedCaller, session: Transaction, once: Once
) -> Response:
    """Sends a message again, now, with the `webhook-id` that it had."""

    def replay() -> Answer:
        delivery = deliveries.find_delivery(session, delivery_id, owner=caller.writable_owner)
        return _delivering(deliveries.replay(session, delivery))

    return once.answer(replay)


@messages.post("event", status_code=204, responses=_ANSWERS, operation_id="event_happened")
def event_happened(_body: WebhookMessage) -> None:
    """Something happened to a job or a model; see docs/webhooks.md for the headers that sign it.

    Answer 2xx within 15 seconds. Anything else, a redirect too, is tried again for three days; 410 disables
    the endpoint.
    """


@messages.post("test", status_code=204, responses=_ANSWERS, operation_id="endpoint_tested")
def endpoint_tested(_body: WebhookTestMessage) -> None:
    """Somebody asked for a test of the endpoint."""


def _maker(caller: Principal) -> EndpointMaker:
    return EndpointMaker(
        owner=caller.owner, is_admin=caller.is_admin, may_read_models=caller.may("models:read")
    )


def _with_secret(row: WebhookEndpoint, services: Services) -> dict[str, object]:
    secret = SecretBox(services.settings.webhooks.secret_key).unseal(row.secret)
    return new_endpoint_document(row, secret).model_dump(mode="json")


def _created(row: WebhookEndpoint, services: Services) -> Answer:
    location = {"Location": f"/v1/webhook-endpoints/{row.id}"}
    return Answer(status_code=201, body=_with_secret(row, services), headers=location)


def _delivering(row: WebhookDelivery) -> Answer:
    location = {"Location": f"/v1/webhook-deliveries/{row.id}", "Retry-After": "1"}
    return Answer(status_code=202, body=delivery_document(row).model_dump(mode="json"), headers=location)
