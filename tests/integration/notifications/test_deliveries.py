"""Deliveries: none lost, none of another's, at least once and always with the same id."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from standardwebhooks import Webhook

from heimdall_core.database.engine import Database
from heimdall_core.database.notification_tables import WebhookDelivery, WebhookEndpoint
from heimdall_core.notifications.deliveries import (
    ClaimedDelivery,
    claim_due,
    delete_old_deliveries,
    make_test,
    replay,
    settle,
)
from heimdall_core.notifications.endpoints import (
    EndpointMaker,
    EndpointWish,
    change_endpoint,
    create_endpoint,
    rotate_secret,
)
from heimdall_core.notifications.fan_out import make_deliveries
from heimdall_core.notifications.retrying import WAITS_SECONDS
from heimdall_core.notifications.secrets import SecretBox
from heimdall_core.notifications.sending import Outcome
from heimdall_core.registry.events import ModelEventKind, record_model_event
from heimdall_core.settings import WebhookSettings
from worker.webhook_sender import WebhookSender

SETTINGS = WebhookSettings(
    allow_http=True, allowed_networks=["127.0.0.0/8"], secret_key="k" * 32, timeout_seconds=2
)
TAKEN = Outcome(status_code=200, error=None, duration_ms=1.0)
REFUSED = Outcome(status_code=500, error="the receiver answered 500", duration_ms=1.0)
GONE = Outcome(status_code=410, error="the receiver answered 410", duration_ms=1.0)
MakeJob = Callable[..., str]
Record = Callable[..., None]
Receive = Callable[..., Any]


def add_endpoint(
    database: Database, url: str = "http://127.0.0.1:9999/", owner: str = "ann", **facts: Any
) -> str:
    maker = EndpointMaker(
        owner=owner,
        is_admin=bool(facts.get("all_owners")),
        may_read_models=facts.pop("may_read_models", False),
    )
    with database.transaction() as session:
        return create_endpoint(session, EndpointWish(url=url, **facts), maker, SETTINGS).id


def enable(database: Database, endpoint_id: str) -> None:
    maker = EndpointMaker(owner="ann", is_admin=False, may_read_models=False)
    with database.transaction() as session:
        endpoint = session.get_one(WebhookEndpoint, endpoint_id)
        change_endpoint(session, endpoint, EndpointWish(enabled=True), maker, SETTINGS)


def endpoint_of(database: Database, endpoint_id: str) -> WebhookEndpoint:
    with database.transaction() as session:
        return session.get_one(WebhookEndpoint, endpoint_id)


def fan_out(database: Database) -> None:
    more = True
    while more:
        with database.transaction() as session:
            more = make_deliveries(session, limit=2)


def deliveries(database: Database, *endpoint_ids: str) -> list[WebhookDelivery]:
    statement = select(WebhookDelivery).order_by(WebhookDelivery.created_at, WebhookDelivery.message_id)
    if endpoint_ids:
        statement = statement.where(WebhookDelivery.endpoint_id.in_(endpoint_ids))
    with database.transaction() as session:
        return list(session.scalars(statement))


def claim(database: Database, **options: Any) -> list[ClaimedDelivery]:
    with database.transaction() as session:
        return claim_due(session, **({"limit": 10, "per_endpoint": 10} | options))


def finish(database: Database, claimed: ClaimedDelivery, outcome: Outcome) -> WebhookDelivery:
    with database.transaction() as session:
        settle(session, claimed, outcome)
    with database.transaction() as session:
        return session.get_one(WebhookDelivery, claimed.id)


def make_due(database: Database) -> None:
    with database.transaction() as session:
        session.execute(update(WebhookDelivery).values(next_attempt_at=func.now()))


def wait_until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def sender(database: Database) -> Iterator[WebhookSender]:
    sender = WebhookSender(database, SETTINGS)
    sender.start()
    try:
        yield sender
    finally:
        sender.close()


def test_only_what_an_endpoint_wants_and_its_owner_may_see_is_delivered(
    database: Database, make_job: MakeJob, record: Record, model: str
) -> None:
    record(make_job("ann"), "job.queued")
    ids = {
        "ann": add_endpoint(database),
        "bob": add_endpoint(database, owner="bob", may_read_models=True),
        "all": add_endpoint(database, owner="root", all_owners=True),
        "ends": add_endpoint(database, events=["job.succeeded", "job.failed"]),
        "exports": add_endpoint(database, kinds=["export"]),
        "off": add_endpoint(database, enabled=False),
    }
    record(make_job("ann"), "job.queued", "job.succeeded")
    record(make_job("bob", kind="export"), "job.queued")
    with database.transaction() as session:
        record_model_event(
            session, ModelEventKind.PROMOTED, model=model, version=2, former_version=1, actor="ann"
        )
    fan_out(database)
    fan_out(database)
    told = {name: [d.message_id for d in deliveries(database, key)] for name, key in ids.items()}
    assert told == {
        "ann": ["evt_2", "evt_3"],
        "bob": ["evt_4", "evt_5"],
        "all": ["evt_2", "evt_3", "evt_4"],
        "ends": ["evt_3"],
        "exports": [],
        "off": [],
    }


def test_an_event_whose_fan_out_breaks_off_is_delivered_by_the_next(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    add_endpoint(database)
    record(make_job(), "job.queued")
    with database.transaction() as session:
        make_deliveries(session)
        session.rollback()
    assert not deliveries(database)
    fan_out(database)
    assert [d.message_id for d in deliveries(database)] == ["evt_1"]


def test_a_crash_between_sending_and_marking_sends_the_same_id_again(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    add_endpoint(database)
    record(make_job(), "job.queued")
    fan_out(database)
    (lost,) = claim(database)
    assert not claim(database), "while the lease holds it is nobody else's"
    make_due(database)
    (again,) = claim(database)
    assert (again.message_id, again.body) == (lost.message_id, lost.body)
    assert finish(database, lost, REFUSED).attempts == [], "the one that was lost says nothing any more"
    assert finish(database, again, TAKEN).status == "succeeded"


def test_a_message_is_tried_ten_times_then_the_endpoint_is_disabled(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    endpoint_id = add_endpoint(database)
    record(make_job(), "job.queued")
    fan_out(database)
    for number in range(1, len(WAITS_SECONDS) + 1):
        (claimed,) = claim(database)
        delivery = finish(database, claimed, REFUSED)
        assert delivery.num_attempts == number
        if number < len(WAITS_SECONDS):
            wait = (delivery.next_attempt_at - datetime.now(UTC)).total_seconds()
            assert 0.9 * WAITS_SECONDS[number] - 2 < wait < 1.2 * WAITS_SECONDS[number]
        make_due(database)
    assert delivery.status == "failed"
    assert [attempt["status_code"] for attempt in delivery.attempts] == [500] * 10
    endpoint = endpoint_of(database, endpoint_id)
    assert (endpoint.disabled_at is not None, endpoint.disabled_reason) == (True, "failing")


def test_an_endpoint_that_took_another_message_meanwhile_stays(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    endpoint_id = add_endpoint(database)
    record(make_job(), "bad", "good")
    fan_out(database)
    with database.transaction() as session:
        session.execute(update(WebhookDelivery).where(WebhookDelivery.event == "bad").values(num_attempts=9))
    bad, good = sorted(claim(database), key=lambda claimed: claimed.message_id)
    finish(database, good, TAKEN)
    with database.transaction() as session:
        early = {"at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
        session.execute(update(WebhookDelivery).values(attempts=[early]))
    assert finish(database, bad, REFUSED).status == "failed"
    assert endpoint_of(database, endpoint_id).disabled_at is None


def test_410_disables_and_what_waits_goes_on_when_it_is_enabled_again(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    endpoint_id = add_endpoint(database)
    job_id = make_job()
    record(job_id, "one", "two")
    fan_out(database)
    (claimed,) = claim(database, limit=1)
    assert finish(database, claimed, GONE).status == "failed"
    assert endpoint_of(database, endpoint_id).disabled_reason == "gone"
    record(job_id, "three")
    fan_out(database)
    assert not claim(database)
    enable(database, endpoint_id)
    record(job_id, "four")
    fan_out(database)
    assert [d.event for d in deliveries(database)] == ["one", "two", "four"], "three came while it was off"
    assert len(claim(database)) == 2


def test_a_busy_endpoint_and_a_long_backlog_leave_room_for_others(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    backlog = add_endpoint(database)
    record(make_job(), "one", "two", "three")
    fan_out(database)
    other = add_endpoint(database)
    record(make_job(), "four")
    fan_out(database)
    first = claim(database, limit=3, per_endpoint=2)
    assert sorted(claimed.endpoint_id for claimed in first) == sorted([backlog, backlog, other])
    assert not claim(database, busy=[backlog])
    assert len(claim(database)) == 2


def test_an_owner_with_many_slow_endpoints_leaves_senders_for_the_others(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    for _ in range(4):
        add_endpoint(database, owner="eve")
    record(make_job(owner="eve"), "one", "two", "three")
    fan_out(database)
    theirs = add_endpoint(database, owner="bob")
    record(make_job(owner="bob"), "four")
    fan_out(database)
    (first,) = claim(database, limit=1, in_flight={"eve": 7})
    assert first.endpoint_id == theirs, "though the others have waited for longer"
    assert len(claim(database, limit=8, in_flight={"eve": 7})) == 8, "nobody else waits"


def test_a_replay_begins_anew_with_the_same_id(database: Database, make_job: MakeJob, record: Record) -> None:
    add_endpoint(database)
    record(make_job(), "job.queued")
    fan_out(database)
    (claimed,) = claim(database)
    finish(database, claimed, TAKEN)
    with database.transaction() as session:
        assert replay(session, session.get_one(WebhookDelivery, claimed.id)).status == "pending"
    (again,) = claim(database)
    assert again.message_id == claimed.message_id
    delivery = finish(database, again, REFUSED)
    assert (delivery.status, delivery.num_attempts) == ("pending", 2)
    assert (delivery.next_attempt_at - datetime.now(UTC)).total_seconds() < 10, (
        "it waits as after a first try"
    )


def test_old_deliveries_go_and_those_that_still_wait_stay(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    add_endpoint(database)
    record(make_job(), "one", "two")
    fan_out(database)
    (claimed,) = claim(database, limit=1)
    finish(database, claimed, TAKEN)
    with database.transaction() as session:
        old = datetime.now(UTC) - timedelta(days=31)
        session.execute(update(WebhookDelivery).values(created_at=old))
        session.execute(
            update(WebhookDelivery).where(WebhookDelivery.id == claimed.id).values(finished_at=old)
        )
        assert delete_old_deliveries(session, days=30) == 1
    assert [d.status for d in deliveries(database)] == ["pending"]


def test_a_message_is_sent_soon_after_its_event_and_the_reference_verifier_takes_it(
    database: Database, make_job: MakeJob, record: Record, receive: Receive
) -> None:
    with receive((503, {}), (204, {})) as receiver, sender(database):
        endpoint_id = add_endpoint(database, receiver.url)
        with database.transaction() as session:
            make_test(session, session.get_one(WebhookEndpoint, endpoint_id))
        wait_until(lambda: len(receiver.received) == 1)
        began = time.monotonic()
        record(make_job(), "job.queued")
        wait_until(lambda: len(receiver.received) == 2)
        assert time.monotonic() - began < 3
        with database.transaction() as session:
            maker = EndpointMaker(owner="ann", is_admin=True, may_read_models=True)
            rotate_secret(session, session.get_one(WebhookEndpoint, endpoint_id), maker, SETTINGS)
        record(make_job(), "job.queued")
        wait_until(lambda: len(receiver.received) >= 3)
        endpoint = endpoint_of(database, endpoint_id)
    assert endpoint.secret.startswith("fernet:")
    new, former = (
        SecretBox(SETTINGS.secret_key).unseal(s) for s in (endpoint.secret, endpoint.former_secret)
    )
    (_, tried, trial), (_, headers, body), *_ = receiver.received
    assert Webhook(former).verify(trial, lower(tried))["type"] == "webhook.test"
    message = Webhook(former).verify(body, lower(headers))
    assert (message["type"], message["data"]["id"]) == ("job.queued", headers["webhook-id"])
    rotated = next((h, b) for _, h, b in receiver.received if h["webhook-id"] == "evt_2")
    for secret in (new, former):
        Webhook(secret).verify(rotated[1], lower(rotated[0]))


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_two_senders_send_each_message_once(
    database: Database, make_job: MakeJob, record: Record, receive: Receive
) -> None:
    with receive() as receiver, sender(database), sender(database):
        add_endpoint(database, receiver.url)
        record(make_job(), *(f"step.{number}" for number in range(30)))
        wait_until(lambda: [d.status for d in deliveries(database)] == ["succeeded"] * 30)
    ids = [headers["webhook-id"] for _, headers, _ in receiver.received]
    assert sorted(ids) == sorted(f"evt_{number}" for number in range(1, 31))
    assert all(len(json.loads(body)["data"]["id"]) for _, _, body in receiver.received)


def test_a_sender_whose_connection_breaks_goes_on(
    database: Database, make_job: MakeJob, record: Record, receive: Receive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.webhook_sender._RETRY_SECONDS", 0.05)
    with receive() as receiver, sender(database):
        add_endpoint(database, receiver.url)
        record(make_job(), "one")
        wait_until(lambda: len(receiver.received) == 1)
        with database.engine.begin() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where application_name = 'heimdall-listener'"
                )
            )
        record(make_job(), "two")
        wait_until(lambda: len(receiver.received) == 2)
