"""Signed messages: the reference verifier takes ours, and nothing that was touched."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from api.schemas.webhooks import WebhookMessage
from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.notifications.messages import event_message
from heimdall_core.notifications.retrying import WAITS_SECONDS, retry_after, wait_seconds
from heimdall_core.notifications.secrets import SecretBox, make_secret
from heimdall_core.notifications.signing import signed_headers
from heimdall_core.notifications.stream import StreamEvent


def event(**values):
    facts = {
        "id": 42,
        "name": "job.succeeded",
        "job_id": "job_1",
        "job_kind": "train",
        "model": "north",
        "owner": "ann",
        "attempt": 1,
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "data": {"model": {"name": "nörth", "version": 7}},
        "is_of_job": True,
    }
    return StreamEvent(**(facts | values))


def signed(body, *secrets, at=None):
    return signed_headers("evt_42", body.encode(), secrets=secrets, at=at or datetime.now(UTC))


def test_a_message_that_was_changed_is_refused_by_the_reference_verifier():
    secret, body = make_secret(), event_message(event())
    headers = signed(body, secret)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace("job_1", "job_2"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-id": "evt_43"})
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(body, headers)
    late = signed(body, secret, at=datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, late)


def test_the_reference_verifier_takes_a_message_by_either_secret_of_a_rotation():
    new, former, body = make_secret(), make_secret(), event_message(event())
    headers = signed(body, new, former)
    for secret in (new, former):
        assert Webhook(secret).verify(body, headers)["data"]["id"] == "evt_42"
    assert len(headers["webhook-signature"].split()) == 2


def test_a_message_tells_of_its_event_as_pages_do():
    message = WebhookMessage.model_validate_json(event_message(event()))
    assert (message.type, message.data.id, message.data.event) == ("job.succeeded", "evt_42", "job.succeeded")
    assert message.timestamp == message.data.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert message.data.data == {"model": {"name": "nörth", "version": 7}}
    assert message.data.complete


def test_a_message_stays_small_whatever_its_event_holds():
    body = event_message(event(data={"error": {"message": "ü" * 50_000}}))
    assert len(body.encode()) < 20_000
    data = json.loads(body)["data"]
    assert (data["complete"], data["data"], data["id"]) == (False, {}, "evt_42")


def test_waits_grow_over_three_days_and_then_end():
    waits = [wait_seconds(number) for number in range(len(WAITS_SECONDS))]
    assert all(least <= wait <= 1.1 * least for least, wait in zip(WAITS_SECONDS, waits, strict=True))
    assert sum(WAITS_SECONDS) > 3 * 86_400
    assert wait_seconds(len(WAITS_SECONDS)) is None


def test_a_receiver_may_ask_for_a_longer_wait_within_bounds():
    assert wait_seconds(1, retry_after_seconds=600) == 600
    assert wait_seconds(1, retry_after_seconds=1) >= 5
    assert wait_seconds(1, retry_after_seconds=1e9) == 86_400
    assert retry_after("120") == 120
    in_a_minute = datetime.now(UTC) + timedelta(seconds=60)
    assert retry_after(in_a_minute.strftime("%a, %d %b %Y %H:%M:%S GMT")) == pytest.approx(60, abs=3)
    assert [retry_after(text) for text in (None, "soon", "")] == [None, None, None]


@pytest.mark.parametrize(
    "header",
    [
        "Mon, 01 Jan 2024 00:00:00 +999999999999999999999",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Jan +0000 00:00:00 99999999999999 01",
    ],
)
def test_a_time_that_cannot_be_is_no_wait_and_no_reason_to_send_for_ever(header):
    assert retry_after(header) is None


def test_a_secret_is_kept_encrypted_and_a_lost_key_is_named():
    secret = make_secret()
    kept = SecretBox(SecretStr("a" * 32)).seal(secret)
    assert secret not in kept
    assert SecretBox(SecretStr(f"{'b' * 32},{'a' * 32}")).unseal(kept) == secret
    for box in (SecretBox(None), SecretBox(SecretStr("c" * 32))):
        with pytest.raises(InfrastructureError, match="another key"):
            box.unseal(kept)
    assert SecretBox(SecretStr("a" * 32)).unseal(SecretBox(None).seal(secret)) == secret
