"""Schedules of retrainings, and the drift scores that some of them wait for."""

from datetime import datetime

from heimdall_client.calls import delete, get, pages, patch, post
from heimdall_client.documents.document import document
from heimdall_client.documents.schedules import DriftScore, Schedule
from heimdall_client.exchanges import Json, path_of
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.references import given
from heimdall_client.steps import Feed, Flow


def list_schedules(*, model: str | None = None, limit: int | None = None) -> Feed[Schedule]:
    """Your schedules, newest first."""
    return pages("/v1/schedules", Schedule, {"model": model}, limit=limit)


def create_schedule(
    name: str,
    *,
    model: str,
    when: Json,
    retrain: Json,
    enabled: bool = True,
    min_interval_seconds: int = 0,
    idempotency_key: str | None = None,
) -> Flow[Schedule]:
    """Has a model trained again by the clock, on new recordings, or on drift.

    Args:
        name: For people.
        model: Its champion is trained again.
        when: Such as ``{"type": "cron", "expression": "0 3 * * 1", "time_zone": "Europe/Rome"}``.
        retrain: ``reason``, and what else ``models.retrain`` takes but ``dedupe_key`` and ``dataset``.
        enabled: Whether it counts from now on.
        min_interval_seconds: After a job of it no other is queued for so long.
        idempotency_key: Default: one made for this call.
    """
    body = given(
        name=name,
        model=model,
        when=when,
        retrain=retrain,
        enabled=enabled,
        min_interval_seconds=min_interval_seconds,
    )
    return post("/v1/schedules", document(Schedule), body, key=idempotency_key)


def get_schedule(schedule_id: str) -> Flow[Schedule]:
    """One of your schedules."""
    return get(_path(schedule_id), document(Schedule))


def update_schedule(
    schedule_id: str,
    *,
    name: str | None = None,
    when: Json | None = None,
    retrain: Json | None = None,
    enabled: bool | None = None,
    min_interval_seconds: int | None = None,
    if_match: str | None = None,
) -> Flow[Schedule]:
    """Changes what is given; ``when`` and ``retrain`` as a whole."""
    body = given(
        name=name,
        when=when,
        retrain=retrain,
        enabled=enabled,
        min_interval_seconds=min_interval_seconds,
    )
    return patch(_path(schedule_id), document(Schedule), body, if_match=if_match)


def delete_schedule(schedule_id: str) -> Flow[None]:
    """Deletes a schedule; a job that it has queued goes on."""
    return delete(_path(schedule_id), lambda _: None)


def run_schedule(schedule_id: str, *, idempotency_key: str | None = None) -> Flow[Schedule]:
    """Does now what the schedule asks for, whatever it waits for."""
    return post(_path(schedule_id) + ":run", document(Schedule), key=idempotency_key)


def list_drift_scores(name: str, *, limit: int | None = None) -> Feed[DriftScore]:
    """The scores of a model, the newest observation first."""
    return pages(path_of("models", name, "drift-scores"), DriftScore, limit=limit)


def post_drift_score(
    name: str,
    score: float,
    *,
    observed_at: datetime | None = None,
    source: str = "",
    idempotency_key: str | None = None,
) -> Flow[DriftScore]:
    """Tells how far what a model is given has drifted; schedules that wait for drift count it.

    Args:
        name: Of the model.
        score: Any number that rises with drift.
        observed_at: With ``source`` it names the observation, which counts once. Default: now.
        source: Who measured it.
        idempotency_key: Default: one made for this call.
    """
    at = None if observed_at is None else observed_at.isoformat()
    body = given(score=score, observed_at=at, source=source)
    return post(path_of("models", name, "drift-scores"), document(DriftScore), body, key=idempotency_key)


def _path(schedule_id: str) -> str:
    return path_of("schedules", schedule_id)


class ScheduleOperations:
    """Every call about schedules."""

    list = Iterating(list_schedules)
    create = Answering(create_schedule)
    get = Answering(get_schedule)
    update = Answering(update_schedule)
    delete = Answering(delete_schedule)
    run = Answering(run_schedule)
    drift_scores = Iterating(list_drift_scores)
    post_drift_score = Answering(post_drift_score)


class Schedules(ScheduleOperations, Blocking):
    """Schedules, blocking."""


class AsyncSchedules(ScheduleOperations, NonBlocking):
    """Schedules, to be awaited."""
