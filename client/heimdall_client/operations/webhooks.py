"""Webhook endpoints and their deliveries."""

import builtins
from collections.abc import Iterable

from heimdall_client.calls import delete, get, pages, patch, post
from heimdall_client.documents.document import document
from heimdall_client.documents.webhooks import NewWebhookEndpoint, WebhookDelivery, WebhookEndpoint
from heimdall_client.exchanges import path_of
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.references import given
from heimdall_client.steps import Feed, Flow


def list_endpoints(*, limit: int | None = None) -> Feed[WebhookEndpoint]:
    """Your endpoints, newest first; an admin's: everybody's."""
    return pages("/v1/webhook-endpoints", WebhookEndpoint, limit=limit)


def create_endpoint(
    url: str,
    *,
    events: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    description: str | None = None,
    all_owners: bool | None = None,
    idempotency_key: str | None = None,
) -> Flow[NewWebhookEndpoint]:
    """Adds an endpoint that is told of what happens from now on; this answer alone shows its secret.

    Args:
        url: Public and https, unless the service allows more.
        events: Names such as ``job.succeeded`` or ``model.*``; default: all.
        kinds: Only of jobs of these kinds.
        description: For people.
        all_owners: Also of other owners' jobs; for admins.
        idempotency_key: Default: one made for this call.
    """
    body = _wish(url, events, kinds, description, all_owners)
    return post("/v1/webhook-endpoints", document(NewWebhookEndpoint), body, key=idempotency_key)


def get_endpoint(endpoint_id: str) -> Flow[WebhookEndpoint]:
    """One of your endpoints."""
    return get(_path(endpoint_id), document(WebhookEndpoint))


def update_endpoint(
    endpoint_id: str,
    *,
    url: str | None = None,
    events: Iterable[str] | None = None,
    kinds: Iterable[str] | None = None,
    description: str | None = None,
    all_owners: bool | None = None,
    enabled: bool | None = None,
) -> Flow[WebhookEndpoint]:
    """Changes what is given; also enables an endpoint that was disabled."""
    body = _wish(url, events, kinds, description, all_owners) | given(enabled=enabled)
    return patch(_path(endpoint_id), document(WebhookEndpoint), body)


def delete_endpoint(endpoint_id: str) -> Flow[None]:
    """Deletes an endpoint with its deliveries."""
    return delete(_path(endpoint_id), lambda _: None)


def rotate_secret(endpoint_id: str, *, idempotency_key: str | None = None) -> Flow[NewWebhookEndpoint]:
    """Gives an endpoint a new secret, shown once; the former signs beside it for a day."""
    return post(_path(endpoint_id) + ":rotate-secret", document(NewWebhookEndpoint), key=idempotency_key)


def send_test(endpoint_id: str) -> Flow[WebhookDelivery]:
    """Sends a ``webhook.test``; the delivery says what came of it."""
    return post(_path(endpoint_id) + ":test", document(WebhookDelivery))


def list_deliveries(
    endpoint_id: str, *, status: str | None = None, limit: int | None = None
) -> Feed[WebhookDelivery]:
    """What was sent to an endpoint, newest first."""
    return pages(_path(endpoint_id) + "/deliveries", WebhookDelivery, {"status": status}, limit=limit)


def get_delivery(delivery_id: str) -> Flow[WebhookDelivery]:
    """One message, and how each attempt went."""
    return get(path_of("webhook-deliveries", delivery_id), document(WebhookDelivery))


def replay_delivery(delivery_id: str) -> Flow[WebhookDelivery]:
    """Sends a message again, now, with the ``webhook-id`` that it had."""
    return post(path_of("webhook-deliveries", delivery_id) + ":replay", document(WebhookDelivery))


def _path(endpoint_id: str) -> str:
    return path_of("webhook-endpoints", endpoint_id)


def _wish(
    url: str | None,
    events: Iterable[str] | None,
    kinds: Iterable[str] | None,
    description: str | None,
    all_owners: bool | None,
) -> dict[str, object]:
    return given(
        url=url,
        events=None if events is None else builtins.list(events),
        kinds=None if kinds is None else builtins.list(kinds),
        description=description,
        all_owners=all_owners,
    )


class WebhookOperations:
    """Every call about webhooks."""

    list = Iterating(list_endpoints)
    create = Answering(create_endpoint)
    get = Answering(get_endpoint)
    update = Answering(update_endpoint)
    delete = Answering(delete_endpoint)
    rotate_secret = Answering(rotate_secret)
    test = Answering(send_test)
    deliveries = Iterating(list_deliveries)
    delivery = Answering(get_delivery)
    replay = Answering(replay_delivery)


class Webhooks(WebhookOperations, Blocking):
    """Webhooks, blocking."""


class AsyncWebhooks(WebhookOperations, NonBlocking):
    """Webhooks, to be awaited."""
