"""What fails is asked again: as often as allowed, as late as asked, and never so that it happens twice."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from heimdall_client import (
    Conflict,
    RateLimited,
    RetryPolicy,
    ServiceFailure,
    Unauthenticated,
    Unavailable,
    Unreachable,
)

REFUSED, RESET = httpx.ConnectError("refused"), httpx.ReadError("connection reset")


def test_a_storm_of_429_ends_in_an_error_that_says_when_to_come_back(surface, script, problem):
    service = script(problem(429, "rate_limited", {"Retry-After": "7"}))
    with pytest.raises(RateLimited) as caught:
        surface.ask(service, "jobs.get", "job_1")
    assert (caught.value.retry_after, len(service.requests)) == (7.0, 5)
    assert surface.slept == [7.0] * 4


@pytest.mark.parametrize("away", [REFUSED, RESET, httpx.ReadTimeout("slow")])
def test_a_service_that_comes_back_gets_the_request_again(surface, script, make_job, away):
    service = script(away, away, httpx.Response(200, json=make_job()))
    assert surface.ask(service, "jobs.get", "job_1").id == "job_1"
    assert surface.slept == [0.25, 0.5], "half of 0.5 s and of 1 s, for this jitter is none"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_that_has_no_service_behind_it_is_asked_again(surface, script, make_job, status):
    service = script(httpx.Response(status, text="<html>"), httpx.Response(200, json=make_job()))
    assert surface.ask(service, "jobs.get", "job_1").id == "job_1"


def test_every_sending_of_a_creation_carries_the_same_key(surface, script, make_job):
    service = script(RESET, httpx.Response(504), httpx.Response(202, json=make_job("queued")))
    surface.ask(service, "jobs.train", "northwest")
    keys = [request.headers["Idempotency-Key"] for request in service.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_creations_carry_two_keys(surface, script, make_job):
    service = script(httpx.Response(202, json=make_job("queued")))
    surface.ask(service, "jobs.train", "northwest")
    surface.ask(service, "jobs.train", "northwest")
    first, second = (request.headers["Idempotency-Key"] for request in service.requests)
    assert first != second


def test_a_repetition_that_overtakes_the_first_sending_waits_for_its_answer(
    surface, script, problem, make_job
):
    busy = problem(409, "idempotency_key_in_use")
    service = script(httpx.ReadTimeout("slow"), busy, httpx.Response(202, json=make_job("queued")))
    assert surface.ask(service, "jobs.create", {"kind": "train"}).id == "job_1"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unknown_key", Unauthenticated),
        (409, "job_already_ended", Conflict),
        (500, "internal_error", ServiceFailure),
    ],
)
def test_what_no_repetition_mends_is_asked_once(surface, script, problem, status, code, kind):
    service = script(problem(status, code))
    with pytest.raises(kind):
        surface.ask(service, "jobs.get", "job_1")
    assert (len(service.requests), surface.slept) == (1, [])


def test_a_pause_longer_than_the_policy_allows_is_left_to_the_caller(surface, script, problem):
    service = script(problem(503, "maintenance", {"Retry-After": "3600"}))
    with pytest.raises(Unavailable) as caught:
        surface.ask(service, "jobs.get", "job_1")
    assert (caught.value.retry_after, len(service.requests)) == (3600.0, 1)


def test_a_service_that_asks_to_come_back_at_once_is_not_stormed(surface, script, problem):
    service = script(problem(503, "away", {"Retry-After": "0"}))
    with pytest.raises(Unavailable):
        surface.ask(service, "jobs.get", "job_1")
    assert surface.slept == [0.25, 0.5, 1.0, 2.0]


def test_a_pause_given_as_a_time_is_honoured(surface, script, problem, make_job):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    service = script(problem(503, "away", {"Retry-After": later}), httpx.Response(200, json=make_job()))
    surface.ask(service, "jobs.get", "job_1")
    assert 50 < surface.slept[0] <= 60


def test_where_nobody_listens_a_person_is_told_at_once(surface, script):
    service = script(REFUSED)
    with pytest.raises(Unreachable, match=r"no answer from http://service\.test: refused") as caught:
        surface.ask(service, "jobs.get", "job_1", retry=RetryPolicy(max_connects=1))
    assert (len(service.requests), caught.value.was_sent, caught.value.status) == (1, False, None)


def test_an_answer_cut_off_in_the_middle_is_asked_for_again(surface, script, pieces, make_job):
    def cut(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=pieces(b'{"id": "jo', httpx.RemoteProtocolError("incomplete body")))

    service = script(cut, httpx.Response(200, json=make_job()))
    assert surface.ask(service, "jobs.get", "job_1").id == "job_1"


def test_a_time_out_in_the_middle_of_every_answer_ends_in_an_error(surface, script, pieces):
    def cut(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=pieces(b"{", httpx.ReadTimeout("no byte for 30 s")))

    service = script(cut)
    with pytest.raises(Unreachable, match="no byte for 30 s") as caught:
        surface.ask(service, "jobs.get", "job_1")
    assert (len(service.requests), caught.value.was_sent) == (5, True)


def test_a_change_bound_to_a_state_is_not_sent_twice_if_it_may_have_arrived(surface, script):
    service = script(RESET)
    with pytest.raises(Unreachable):
        surface.ask(service, "jobs.update", "job_1", priority="high", if_match='"3"')
    assert len(service.requests) == 1
    assert service.requests[0].headers["If-Match"] == '"3"'


def test_pauses_grow_to_their_maximum_and_differ_by_chance():
    longest = RetryPolicy(jitter=lambda: 1.0)
    assert [longest.backoff(n) for n in (1, 2, 3, 4, 7, 1000)] == [0.5, 1.0, 2.0, 4.0, 20.0, 20.0]
    chance = RetryPolicy()
    assert len({chance.backoff(3) for _ in range(20)}) > 1
    assert all(1.0 <= chance.backoff(3) <= 2.0 for _ in range(100))


def test_a_storm_of_clients_does_not_come_back_at_one_moment(problem):
    policy = RetryPolicy()
    error = RateLimited("slow down", retry_after=10.0)
    pauses = {policy.pause_after(error, num_tries=1, is_repeatable=True) for _ in range(20)}
    assert len(pauses) > 1
    assert all(10.0 <= pause <= 11.0 for pause in pauses)
