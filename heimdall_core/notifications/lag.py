"""How far webhooks are behind what they have to tell."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.notification_tables import WebhookCursor, WebhookDelivery, WebhookEndpoint
from heimdall_core.notifications.stream import EventFilter, read_events


def webhook_lag_seconds(session: Session) -> float:
    """How long the oldest message is due, or the oldest event waits to become one; 0: nothing waits.

    What a receiver does not take waits for its next try and is not due before.
    """
    enabled = WebhookEndpoint.disabled_at.is_(None)
    oldest_due = (
        select(func.min(WebhookDelivery.next_attempt_at))
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(enabled, WebhookDelivery.status == "pending")
        .scalar_subquery()
    )
    due, now = session.execute(select(oldest_due, func.now())).one()
    moments = [] if due is None else [due]
    if session.scalar(select(func.count()).select_from(WebhookEndpoint).where(enabled)):
        cursor = session.scalar(select(func.max(WebhookCursor.event_id))) or 0
        moments += [event.created_at for event in read_events(session, EventFilter(), after=cursor, limit=1)]
    return max(0.0, max(((now - moment).total_seconds() for moment in moments), default=0.0))


def num_pending(session: Session) -> int:
    """Messages that have not been taken yet, of endpoints that are enabled."""
    waiting = (
        select(func.count())
        .select_from(WebhookDelivery)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookEndpoint.disabled_at.is_(None), WebhookDelivery.status == "pending")
    )
    return session.execute(waiting).scalar_one()
