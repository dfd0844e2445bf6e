"""A refusal is an error that a program can tell by its class and code, and a person by its text."""

import httpx
import pytest

import heimdall_client
from heimdall_client import HeimdallError, InvalidRequest, PromotionRefused, UnreadableAnswer
from heimdall_client.errors import FieldError


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "bad_request", "InvalidRequest"),
        (401, "missing_key", "Unauthenticated"),
        (403, "forbidden", "Forbidden"),
        (404, "job_not_found", "NotFound"),
        (404, "unknown_path", "NotOffered"),
        (404, "unknown_action", "NotOffered"),
        (405, "method_not_allowed", "NotOffered"),
        (409, "job_already_ended", "Conflict"),
        (409, "promotion_refused", "PromotionRefused"),
        (412, "precondition_failed", "PreconditionFailed"),
        (413, "body_too_large", "InvalidRequest"),
        (418, "a_code_of_the_future", "InvalidRequest"),
        (422, "invalid_request", "InvalidRequest"),
        (429, "rate_limited", "RateLimited"),
        (500, "internal_error", "ServiceFailure"),
        (503, "database_unavailable", "Unavailable"),
        (599, "a_code_of_the_future", "ServiceFailure"),
    ],
)
def test_code_and_status_decide_the_class(surface, script, problem, status, code, kind):
    with pytest.raises(HeimdallError) as caught:
        surface.ask(script(problem(status, code, request_id="req_1")), "jobs.get", "job_1")
    error = caught.value
    assert type(error) is getattr(heimdall_client, kind)
    assert (error.status, error.code, error.request_id) == (status, code, "req_1")


def test_every_wrong_field_is_named_once(surface, script, problem):
    fields = [
        {"pointer": "#/training/epochs", "detail": "must be at least 1"},
        {"pointer": "#/x", "detail": "is not known"},
        "what no version sends",
    ]
    service = script(problem(422, "invalid_request", detail="2 fields are wrong", hint="mend", errors=fields))
    with pytest.raises(InvalidRequest) as caught:
        surface.ask(service, "jobs.create", {"kind": "train"})
    error = caught.value
    assert error.errors[0] == FieldError(pointer="#/training/epochs", detail="must be at least 1")
    assert str(error) == "2 fields are wrong; #/training/epochs must be at least 1; #/x is not known"
    assert (error.title, error.hint) == ("invalid request", "mend")


def test_a_refused_promotion_has_the_verdict(surface, script, problem):
    service = script(problem(409, "promotion_refused", verdict={"passed": False, "checks": []}))
    with pytest.raises(PromotionRefused) as caught:
        surface.ask(service, "models.promote", "localization", 3)
    assert caught.value.verdict == {"passed": False, "checks": []}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(404, text="<html>"), "HTTP 404"),
        (httpx.Response(403, json=["x"]), "HTTP 403"),
        (httpx.Response(400, json={"title": "Bad", "code": 7, "errors": 3}), "Bad"),
        (httpx.Response(400, content=b"\xff\xfe"), "HTTP 400"),
    ],
)
def test_a_refusal_that_is_no_problem_document_still_reads(surface, script, answer, message):
    with pytest.raises(HeimdallError) as caught:
        surface.ask(script(answer), "jobs.get", "job_1")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>welcome to the hotel's network</html>"),
        httpx.Response(200, json=[1, 2]),
        httpx.Response(200, json={"id": "job_1"}),
        httpx.Response(301, headers={"Location": "https://elsewhere.test/"}),
    ],
)
def test_an_answer_that_is_none_of_this_api_is_said_to_be_so(surface, script, answer):
    with pytest.raises(UnreadableAnswer) as caught:
        surface.ask(script(answer), "jobs.get", "job_1")
    assert caught.value.code == "unreadable_answer"


def test_a_redirect_is_not_followed_with_the_key(surface, script):
    service = script(httpx.Response(307, headers={"Location": "http://thief.test/v1/jobs"}))
    with pytest.raises(UnreadableAnswer, match=r"redirects to http://thief\.test"):
        surface.ask(service, "jobs.create", {"kind": "train"})
    assert [request.url.host for request in service.requests] == ["service.test"]
