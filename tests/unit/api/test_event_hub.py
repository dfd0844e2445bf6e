"""The fan-out by itself: who gets what, and when a stream ends."""

import asyncio
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.event_hub import EventHub, Follower, Frame, StreamEnd, _is_live
from api.event_streams import ending_on_signals
from api.schemas.events import event_frame
from heimdall_core.accounts.principal import Principal
from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.notifications.stream import EventFilter, StreamEvent
from heimdall_core.settings import EventSettings

CALLER = Principal(owner="ann", key_id="key_1", scopes=frozenset({"jobs:read"}))


def frame(number, name="step", job_id="job_1"):
    event = StreamEvent(
        id=number,
        name=name,
        job_id=job_id,
        job_kind="train",
        model=None,
        owner="ann",
        attempt=1,
        created_at=datetime.now(UTC),
        data={},
        is_of_job=True,
    )
    return Frame(event=event, encoded=b"")


def follower(*, limit=10_000, **wanted):
    return Follower(EventFilter(**wanted), CALLER, limit=limit)


@pytest.fixture
def hub():
    hub = EventHub(None, EventSettings(max_streams=2))
    hub._begin(10)
    return hub


async def numbers(follower):
    return [frame.event.id for frame in await follower.take(within_seconds=0.01)]


def test_who_comes_from_before_the_start_must_read_first(hub):
    assert not hub.join(follower(), 9)
    assert hub.join(follower(), 10)


def test_who_comes_back_soon_gets_what_it_missed_once_and_from_memory(hub):
    hub._publish([frame(11), frame(12)])
    late, ahead = follower(), follower()
    assert hub.join(late, 11)
    assert hub.join(ahead, 13), "it has read more than was published yet"
    hub._publish([frame(13), frame(14)])
    assert asyncio.run(numbers(late)) == [12, 13, 14]
    assert asyncio.run(numbers(ahead)) == [14]


def test_who_comes_back_after_too_many_events_must_read_first(hub):
    hub._publish([frame(number) for number in range(11, 1012)])
    assert not hub.join(follower(), 10)
    late = follower()
    assert hub.join(late, 11)
    assert asyncio.run(numbers(late)) == list(range(12, 1012))


def test_an_event_goes_to_the_followers_of_its_job_and_of_everything(hub):
    everything, one, other = follower(), follower(job_id="job_1"), follower(job_id="job_2")
    for each in (everything, one, other):
        hub.join(each, 10)
    hub._publish([frame(11), frame(12, job_id="job_2")])
    assert [asyncio.run(numbers(each)) for each in (everything, one, other)] == [[11, 12], [11], [12]]
    hub.leave(one)
    hub.leave(one)
    assert hub.num_followers == 2


def test_a_follower_that_is_behind_is_ended_and_holds_nothing(hub):
    slow = follower(limit=2)
    hub.join(slow, 10)
    hub._publish([frame(number) for number in range(11, 15)])
    assert slow.end is StreamEnd.TOO_SLOW
    assert asyncio.run(numbers(slow)) == []


def test_after_the_end_of_the_process_was_announced_every_stream_ends_at_once(hub):
    early, late = follower(), follower()
    hub.join(early, 10)
    hub._end_all()
    hub.join(late, 10)
    assert (early.end, late.end) == (StreamEnd.SHUTDOWN, StreamEnd.SHUTDOWN)


def test_no_more_streams_than_may_be_whether_they_have_caught_up_or_not(hub):
    early, late = follower(), follower()
    hub.admit(early)
    hub.admit(late)
    hub.join(early, 10)
    with pytest.raises(InfrastructureError, match="open streams"):
        hub.admit(follower())
    assert hub.num_streams == 2
    hub.leave(late)
    assert hub.num_streams == 1
    hub.admit(follower())


def test_a_key_that_ended_or_a_token_that_expired_is_noticed():
    token = Principal(owner="ann", key_id=None, scopes=frozenset())
    soon, past = (datetime.now(UTC) + timedelta(seconds=sign * 60) for sign in (1, -1))

    def of(expires_at):
        return Principal(owner="ann", key_id=None, scopes=frozenset(), expires_at=expires_at)

    assert [_is_live(caller, set()) for caller in (token, of(soon), of(past))] == [True, True, False]
    assert [_is_live(CALLER, live) for live in ({"key_1"}, {"key_2"})] == [True, False]


def test_a_stream_of_a_browser_ends_with_its_session_though_the_key_is_good():
    caller = replace(CALLER, session_id="web_1")
    lives = ({"key_1", "web_1"}, {"key_1"}, {"web_1"})
    assert [_is_live(caller, live) for live in lives] == [True, False, False]


def test_a_name_cannot_break_out_of_its_line():
    odd = replace(frame(11).event, name="step\ndata: forged", data={"text": "a\n\ndata: b"})
    lines = event_frame(odd).decode().split("\n")
    assert lines[:2] == ["id: evt_11", "event: step data: forged"]
    assert lines[2].startswith('data: {"id":"evt_11"')
    assert lines[3:] == ["", ""]


def test_the_document_describes_what_webhooks_are_sent(app):
    document = app.openapi()
    for name, schema in (("event", "WebhookMessage"), ("test", "WebhookTestMessage")):
        body = document["webhooks"][name]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"] == {"$ref": f"#/components/schemas/{schema}"}
        assert schema in document["components"]["schemas"]


def test_a_signal_ends_the_streams_and_still_reaches_the_server():
    told = []
    former = signal.signal(signal.SIGTERM, lambda *_: told.append("server"))
    try:
        with ending_on_signals(lambda: told.append("streams")):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert told == ["streams", "server", "server"]
