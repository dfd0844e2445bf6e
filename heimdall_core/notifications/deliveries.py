"""Deliveries: claimed, sent outside of any transaction, settled; listed, tested and replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import case, delete, func, literal, select, text, true, tuple_, update
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.notification_tables import CHANNEL, WebhookDelivery, WebhookEndpoint
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import Conflict, NotFound
from heimdall_core.notifications.endpoints import FAILING, GONE, disable
from heimdall_core.notifications.messages import TEST_EVENT, trial_message
from heimdall_core.notifications.retrying import wait_seconds
from heimdall_core.notifications.sending import Outcome

#: An attempt that has not been settled for so long is lost with its process; longer than any takes.
LEASE_SECONDS: Final = 120.0
_KEPT_ATTEMPTS: Final = 20
_DUE = (WebhookDelivery.status == "pending", WebhookDelivery.next_attempt_at <= func.now())


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    #: To be sent, again if need be; an endpoint that is disabled keeps it waiting.
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    #: The receiver did not take it in ten attempts, or wants no more.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that this process sends now."""

    id: str
    endpoint_id: str
    owner: str
    """Of the endpoint."""
    number: int
    """Of the attempt: its fence."""
    message_id: str
    body: str
    url: str
    secrets: tuple[str, ...]
    """As the database keeps them; the newest first."""


def claim_due(
    session: Session,
    *,
    limit: int,
    per_endpoint: int,
    busy: Sequence[str] = (),
    in_flight: Mapping[str, int] | None = None,
) -> list[ClaimedDelivery]:
    """Takes deliveries that are due, none of a ``busy`` endpoint, and hides them for ``LEASE_SECONDS``.

    Owners take turns, those last that have most ``in_flight``: whose receivers are slow keeps nobody waiting.
    """
    one = (
        select(WebhookDelivery.id, WebhookDelivery.next_attempt_at)
        .where(WebhookDelivery.endpoint_id == WebhookEndpoint.id, *_DUE)
        .order_by(WebhookDelivery.next_attempt_at)
        .limit(per_endpoint)
        .with_for_update(skip_locked=True)
        .lateral()
    )
    turn = func.row_number().over(partition_by=WebhookEndpoint.owner, order_by=one.c.next_attempt_at)
    ahead = case(dict(in_flight), value=WebhookEndpoint.owner, else_=0) if in_flight else literal(0)
    chosen = (
        select(one.c.id)
        .select_from(WebhookEndpoint)
        .join(one, true())
        .where(WebhookEndpoint.disabled_at.is_(None), WebhookEndpoint.id.not_in(busy))
        .order_by(turn + ahead, one.c.next_attempt_at)
        .limit(limit)
    )
    ids = session.scalars(chosen).all()
    statement = (
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(ids), WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .values(
            num_attempts=WebhookDelivery.num_attempts + 1,
            next_attempt_at=func.now() + literal(timedelta(seconds=LEASE_SECONDS)),
        )
        .returning(WebhookDelivery, WebhookEndpoint, func.now())
    )
    return [_claimed(*row) for row in session.execute(statement)] if ids else []


def _claimed(delivery: WebhookDelivery, endpoint: WebhookEndpoint, now: datetime) -> ClaimedDelivery:
    until = endpoint.former_secret_until
    former = endpoint.former_secret if until is not None and until > now else None
    return ClaimedDelivery(
        id=delivery.id,
        endpoint_id=endpoint.id,
        owner=endpoint.owner,
        number=delivery.num_attempts,
        message_id=delivery.message_id,
        body=delivery.body,
        url=endpoint.url,
        secrets=(endpoint.secret, *([former] if former else [])),
    )


def seconds_until_due(session: Session) -> float | None:
    """How long until an enabled endpoint's delivery is due; None: none waits."""
    soonest = (
        select(func.extract("epoch", func.min(WebhookDelivery.next_attempt_at) - func.now()))
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.status == "pending", WebhookEndpoint.disabled_at.is_(None))
    )
    found = session.execute(soonest).scalar_one()
    return None if found is None else max(0.0, float(found))


def settle(session: Session, claimed: ClaimedDelivery, outcome: Outcome) -> None:
    """Writes what came of the attempt, unless a later one has begun or the delivery is gone."""
    endpoint = session.get(WebhookEndpoint, claimed.endpoint_id, with_for_update=True)
    delivery = session.get(WebhookDelivery, claimed.id, with_for_update=True)
    if endpoint is None or delivery is None or delivery.num_attempts != claimed.number:
        return
    if delivery.status != DeliveryStatus.PENDING:
        return
    delivery.attempts = [*delivery.attempts, _attempt(claimed, outcome)][-_KEPT_ATTEMPTS:]
    if outcome.is_taken:
        _finish(delivery, DeliveryStatus.SUCCEEDED)
        endpoint.last_success_at = func.clock_timestamp()
        return
    tried = delivery.num_attempts - delivery.attempts_before
    wait = None if outcome.is_gone else wait_seconds(tried, retry_after_seconds=outcome.retry_after_seconds)
    if wait is not None:
        delivery.next_attempt_at = func.now() + literal(timedelta(seconds=wait))
        return
    _finish(delivery, DeliveryStatus.FAILED)
    if outcome.is_gone:
        disable(endpoint, GONE)
    elif _took_nothing_since(endpoint, delivery):
        disable(endpoint, FAILING)


def _took_nothing_since(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> bool:
    """Whether the endpoint has taken nothing since the first attempt of a delivery that has used them all."""
    began_at = datetime.fromisoformat(delivery.attempts[0]["at"])
    return endpoint.last_success_at is None or endpoint.last_success_at < began_at


def _attempt(claimed: ClaimedDelivery, outcome: Outcome) -> dict[str, Any]:
    return {
        "number": claimed.number,
        "at": (datetime.now(UTC) - timedelta(milliseconds=outcome.duration_ms)).isoformat(),
        "status_code": outcome.status_code,
        "error": outcome.error,
        "duration_ms": outcome.duration_ms,
    }


def _finish(delivery: WebhookDelivery, status: DeliveryStatus) -> None:
    delivery.status = status.value
    delivery.finished_at = func.clock_timestamp()


def list_deliveries(
    session: Session,
    endpoint: WebhookEndpoint,
    *,
    status: DeliveryStatus | None,
    cursor: str | None,
    limit: int,
) -> Page[WebhookDelivery]:
    """Newest first."""
    key = (WebhookDelivery.created_at, WebhookDelivery.id)
    statement = (
        select(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint.id)
        .order_by(*(column.desc() for column in key))
    )
    if status is not None:
        statement = statement.where(WebhookDelivery.status == status.value)
    if cursor:
        statement = statement.where(tuple_(*key) < decode_cursor(cursor))
    found = session.scalars(statement.limit(limit + 1)).all()
    rows, more = found[:limit], len(found) > limit
    return Page(items=rows, next_cursor=encode_cursor(rows[-1].created_at, rows[-1].id) if more else None)


def find_delivery(session: Session, delivery_id: str, *, owner: str | None) -> WebhookDelivery:
    """The delivery, if its endpoint is this owner's.

    Raises:
        NotFound: no such delivery, or another owner's.
    """
    statement = (
        select(WebhookDelivery, WebhookEndpoint.owner)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.id == delivery_id)
    )
    row = session.execute(statement).one_or_none()
    if row is None or owner not in {None, row.owner}:
        raise NotFound(
            f"no webhook delivery {delivery_id!r}",
            code="webhook_delivery_not_found",
            hint="GET /v1/webhook-endpoints/{id}/deliveries lists them for 30 days.",
        )
    delivery: WebhookDelivery = row[0]
    return delivery


def replay(session: Session, delivery: WebhookDelivery) -> WebhookDelivery:
    """Sends it now, and again from the first wait on, with the id that it had.

    Raises:
        Conflict: its endpoint is disabled.
    """
    endpoint = session.get_one(WebhookEndpoint, delivery.endpoint_id, with_for_update=True)
    _require_enabled(endpoint)
    session.refresh(delivery, with_for_update=True)
    delivery.status = DeliveryStatus.PENDING.value
    delivery.attempts_before = delivery.num_attempts
    delivery.next_attempt_at = func.now()
    delivery.finished_at = None
    return _stored(session, delivery)


def make_test(session: Session, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """A delivery that is about nothing.

    Raises:
        Conflict: the endpoint is disabled.
    """
    _require_enabled(endpoint)
    delivery = WebhookDelivery(
        id=new_id("whd"),
        endpoint_id=endpoint.id,
        message_id=new_id("test"),
        event=TEST_EVENT,
        body=trial_message(endpoint.id, datetime.now(UTC)),
    )
    session.add(delivery)
    return _stored(session, delivery)


def delete_old_deliveries(session: Session, *, days: float, limit: int = 2000) -> int:
    """Deletes what ended so long ago, or has waited so long for a disabled endpoint; returns how many."""
    age = func.now() - literal(timedelta(days=days))
    ended_at = func.coalesce(WebhookDelivery.finished_at, WebhookDelivery.next_attempt_at)
    old = select(WebhookDelivery.id).where(ended_at < age).limit(limit).with_for_update(skip_locked=True)
    statement = delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)).returning(WebhookDelivery.id)
    return len(session.execute(statement).all())


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise Conflict(
            f"webhook endpoint {endpoint.id} is disabled ({endpoint.disabled_reason})",
            code="webhook_endpoint_disabled",
            hint='PATCH it with {"enabled": true} first.',
        )


def _stored(session: Session, delivery: WebhookDelivery) -> WebhookDelivery:
    """The row as it is written; the senders hear of it at the commit."""
    session.execute(text("select pg_notify(:channel, '')"), {"channel": CHANNEL})
    session.flush()
    session.refresh(delivery)
    return delivery
