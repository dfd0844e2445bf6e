"""What happened to a model, for consumers and for auditors."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelEvent


class ModelEventKind(StrEnum):
    """The kinds of events."""

    #: A version was registered.
    REGISTERED = "model.registered"
    #: A version became the champion.
    PROMOTED = "model.promoted"
    #: The gate kept a version, which its job wanted to promote, from becoming the champion.
    PROMOTION_REFUSED = "model.promotion_refused"
    #: The champion is measured on the version's test sessions first.
    PROMOTION_WAITS = "model.promotion_waits"
    #: Champion and previous version were swapped.
    ROLLED_BACK = "model.rolled_back"


def record_model_event(
    session: Session,
    kind: ModelEventKind,
    *,
    model: str,
    version: int,
    former_version: int | None,
    actor: str,
    job_id: str | None = None,
    reason: str | None = None,
    forced: bool = False,
    verdict: Mapping[str, Any] | None = None,
) -> ModelEvent:
    """Appends to the model's history, in the caller's transaction and under its lock of the model."""
    event = ModelEvent(
        model=model,
        kind=kind.value,
        version=version,
        former_version=former_version,
        actor=actor,
        job_id=job_id,
        reason=reason,
        forced=forced,
        **({} if verdict is None else {"verdict": dict(verdict)}),
    )
    session.add(event)
    session.flush()
    session.refresh(event)
    return event


def list_model_events(session: Session, name: str, *, after: int, limit: int) -> Sequence[ModelEvent]:
    """The model's events with ids above ``after``, the oldest first."""
    wanted = (ModelEvent.model == name, ModelEvent.id > after)
    return session.scalars(select(ModelEvent).where(*wanted).order_by(ModelEvent.id).limit(limit)).all()
