"""Webhook endpoints: whom to tell, of what, and with which secret."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, literal, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.notification_tables import WebhookDelivery, WebhookEndpoint
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import Conflict, Forbidden, NotFound
from heimdall_core.notifications.secrets import SecretBox, make_secret
from heimdall_core.notifications.stream import EventFilter, last_event_number
from heimdall_core.notifications.targets import check_url
from heimdall_core.settings import WebhookSettings

#: Why an endpoint is disabled: its owner said so, the receiver answered 410, or nothing was taken for days.
BY_REQUEST, GONE, FAILING = "request", "gone", "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointMaker:
    """Who makes or changes an endpoint."""

    owner: str
    is_admin: bool
    may_read_models: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWish:
    """What an endpoint shall be; None: as it is."""

    url: str | None = None
    description: str | None = None
    events: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    all_owners: bool | None = None
    enabled: bool | None = None


def create_endpoint(
    session: Session, wish: EndpointWish, maker: EndpointMaker, settings: WebhookSettings
) -> WebhookEndpoint:
    """An endpoint that is told of what happens from now on.

    Raises:
        InvalidRequest: the URL cannot be called.
        Forbidden: only an admin is told of everybody's jobs.
        Conflict: the owner has as many endpoints as one may have.
    """
    count = select(func.count()).where(WebhookEndpoint.owner == maker.owner)
    if session.execute(count).scalar_one() >= settings.max_endpoints:
        raise Conflict(
            f"{maker.owner} has {settings.max_endpoints} webhook endpoints, as many as one may have",
            code="too_many_webhook_endpoints",
            hint="Delete one that is not needed.",
        )
    endpoint = WebhookEndpoint(
        id=new_id("whe"),
        owner=maker.owner,
        events=["*"],
        kinds=[],
        sees_models=maker.may_read_models,
        secret=SecretBox(settings.secret_key).seal(make_secret()),
        after_event_id=last_event_number(session),
    )
    _apply(session, endpoint, wish, maker, settings)
    session.add(endpoint)
    session.flush()
    session.refresh(endpoint)
    return endpoint


def find_endpoint(session: Session, endpoint_id: str, *, owner: str | None) -> WebhookEndpoint:
    """The endpoint, locked, if this owner may change it.

    Raises:
        NotFound: no such endpoint, or another owner's.
    """
    endpoint = session.get(WebhookEndpoint, endpoint_id, with_for_update=True)
    if endpoint is None or owner not in {None, endpoint.owner}:
        raise NotFound(
            f"no webhook endpoint {endpoint_id!r}",
            code="webhook_endpoint_not_found",
            hint="GET /v1/webhook-endpoints lists yours.",
        )
    return endpoint


def list_endpoints(
    session: Session, *, owner: str | None, cursor: str | None, limit: int
) -> Page[WebhookEndpoint]:
    """Newest first; ``owner`` None: everybody's."""
    key = (WebhookEndpoint.created_at, WebhookEndpoint.id)
    statement = select(WebhookEndpoint).order_by(*(column.desc() for column in key))
    if owner is not None:
        statement = statement.where(WebhookEndpoint.owner == owner)
    if cursor:
        statement = statement.where(tuple_(*key) < decode_cursor(cursor))
    found = session.scalars(statement.limit(limit + 1)).all()
    rows, more = found[:limit], len(found) > limit
    return Page(items=rows, next_cursor=encode_cursor(rows[-1].created_at, rows[-1].id) if more else None)


def change_endpoint(
    session: Session,
    endpoint: WebhookEndpoint,
    wish: EndpointWish,
    maker: EndpointMaker,
    settings: WebhookSettings,
) -> WebhookEndpoint:
    """Changes what the wish names; one that is enabled again is told of what happens from then on.

    What was sent to one that is told of everybody's jobs no more is forgotten: its owner could have it again.

    Raises:
        InvalidRequest: the URL cannot be called.
        Forbidden: the endpoint is, or would be, told of more than its maker may see; disabled it can be.
    """
    if wish != EndpointWish(enabled=False):
        _require_as_much(endpoint, maker)
    if endpoint.all_owners and wish.all_owners is False:
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id))
    _apply(session, endpoint, wish, maker, settings)
    endpoint.updated_at = func.now()
    session.flush()
    session.refresh(endpoint)
    return endpoint


def rotate_secret(
    session: Session, endpoint: WebhookEndpoint, maker: EndpointMaker, settings: WebhookSettings
) -> WebhookEndpoint:
    """Gives the endpoint a new secret; the former signs beside it for a while.

    Raises:
        Forbidden: the endpoint is told of more than its maker may see.
    """
    _require_as_much(endpoint, maker)
    endpoint.former_secret = endpoint.secret
    endpoint.former_secret_until = func.now() + literal(timedelta(hours=settings.rotation_hours))
    endpoint.secret = SecretBox(settings.secret_key).seal(make_secret())
    endpoint.updated_at = func.now()
    session.flush()
    session.refresh(endpoint)
    return endpoint


def disable(endpoint: WebhookEndpoint, reason: str) -> None:
    """Nothing is sent to it until it is enabled again."""
    if endpoint.disabled_at is None:
        endpoint.disabled_at = func.now()
        endpoint.disabled_reason = reason


def wanted_by(endpoint: WebhookEndpoint) -> EventFilter:
    """The events that it is told of."""
    return EventFilter(
        owner=None if endpoint.all_owners else endpoint.owner,
        models_too=endpoint.sees_models,
        names=tuple(endpoint.events),
        kinds=tuple(endpoint.kinds),
    )


def _require_as_much(endpoint: WebhookEndpoint, maker: EndpointMaker) -> None:
    """A key of the same owner may see less than the one that made the endpoint."""
    lacking = "models:read" if endpoint.sees_models and not maker.may_read_models else None
    if endpoint.all_owners and not maker.is_admin:
        lacking = "admin"
    if lacking is not None:
        raise Forbidden(
            f"webhook endpoint {endpoint.id} is told of more than the caller may see",
            code="missing_scope",
            hint=f"Use a key with the scope {lacking}; this one may disable the endpoint or delete it.",
        )


def _apply(
    session: Session,
    endpoint: WebhookEndpoint,
    wish: EndpointWish,
    maker: EndpointMaker,
    settings: WebhookSettings,
) -> None:
    if wish.all_owners and not maker.is_admin:
        raise Forbidden(
            "only an admin is told of everybody's jobs",
            code="missing_scope",
            hint="Leave all_owners out, or use a key with the scope admin.",
        )
    if wish.url is not None:
        check_url(wish.url, settings)
        endpoint.url = wish.url
    if wish.description is not None:
        endpoint.description = wish.description
    if wish.events is not None:
        endpoint.events = list(wish.events)
    if wish.kinds is not None:
        endpoint.kinds = list(wish.kinds)
    if wish.all_owners is not None:
        endpoint.all_owners = wish.all_owners
    if wish.enabled is False:
        disable(endpoint, BY_REQUEST)
    elif wish.enabled and endpoint.disabled_at is not None:
        endpoint.disabled_at = endpoint.disabled_reason = None
        endpoint.after_event_id = last_event_number(session)
