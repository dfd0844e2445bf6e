import json
import os
from collections.abc import Callable

import httpx
import pytest

from heimdall_core.cli.client import ApiClient, connect, connect_local, path_of
from heimdall_core.cli.errors import RequestRefused, ServerUnknown, ServerUnreachable
from heimdall_core.embedded.home import Home, StackState
from heimdall_core.embedded.identity import identify


def client_of(handler: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    return ApiClient("http://127.0.0.1:1/", "hmd_key", transport=httpx.MockTransport(handler))


def refused(answer: httpx.Response) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught, client_of(lambda _: answer) as client:
        client.get("/v1/jobs/x")
    return caught.value


def test_a_problem_becomes_one_line_with_every_field_named():
    error = refused(
        httpx.Response(
            422,
            json={
                "title": "Invalid",
                "detail": "2 fields are wrong",
                "code": "invalid_request",
                "hint": "mend them",
                "errors": [
                    {"pointer": "/training/epochs", "detail": "must be at least 1"},
                    {"pointer": "/x", "detail": "is not known"},
                ],
            },
        )
    )
    assert str(error) == "2 fields are wrong; /training/epochs must be at least 1; /x is not known"
    assert (error.status, error.stable_code, error.hint) == (422, "invalid_request", "mend them")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(502, text="<html>"), "HTTP 502"),
        (httpx.Response(500, json=["x"]), "HTTP 500"),
        (httpx.Response(404, json={"title": "Not found"}), "Not found"),
    ],
)
def test_an_answer_that_is_no_problem_document_still_reads(answer, message):
    assert str(refused(answer)) == message


def test_no_answer_names_the_address():
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(ServerUnreachable, match=r"no answer from http://127.0.0.1:1: connection refused"):
        client_of(fail).get("/v1/jobs")


def test_every_call_carries_the_key_and_a_keyed_one_is_idempotent():
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={"id": "job_1"})

    with client_of(answer) as client:
        assert client.post("/v1/jobs", {"kind": "train"}, key="once") == {"id": "job_1"}
        client.post("/v1/jobs/job_1:cancel")
    assert seen[0].headers["Authorization"] == "Bearer hmd_key"
    assert seen[0].headers["Idempotency-Key"] == '"once"'
    assert json.loads(seen[0].content) == {"kind": "train"}
    assert len(seen[1].headers["Idempotency-Key"]) > 30, "one of its own: a repetition is harmless"
    assert seen[1].content == b""


def pages_of(items: list[int], size: int) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("cursor", 0))
        assert "kind" not in request.url.params, "what is None is not sent"
        end = start + min(size, int(request.url.params["limit"]))
        more = end < len(items)
        return httpx.Response(
            200, json={"data": items[start:end], "next_cursor": str(end) if more else None, "has_more": more}
        )

    return answer


@pytest.mark.parametrize(("limit", "count"), [(None, 7), (3, 3), (5, 5), (50, 7)])
def test_pages_are_followed_to_their_end_or_to_the_limit(limit, count):
    with client_of(pages_of(list(range(7)), size=3)) as client:
        assert list(client.pages("/v1/jobs", limit=limit, kind=None)) == list(range(count))


def test_a_url_without_a_key_is_refused(monkeypatch):
    monkeypatch.setenv("HEIMDALL_URL", "http://example")
    monkeypatch.delenv("HEIMDALL_API_KEY", raising=False)
    with pytest.raises(ServerUnknown, match="HEIMDALL_API_KEY is not"):
        connect()


def test_the_environment_names_the_server(monkeypatch):
    monkeypatch.setenv("HEIMDALL_URL", "http://example/")
    monkeypatch.setenv("HEIMDALL_API_KEY", "hmd_x")
    with connect() as client:
        assert client.url == "http://example"


def test_without_a_running_stack_the_reader_is_told_how_to_start_one(monkeypatch, tmp_path):
    monkeypatch.delenv("HEIMDALL_URL", raising=False)
    monkeypatch.setenv("HEIMDALL_HOME", str(tmp_path))
    with pytest.raises(ServerUnknown, match="no Heimdall runs in") as caught:
        connect()
    assert "heimdall up" in caught.value.hint


def test_a_running_stack_is_found_with_its_key(tmp_path):
    home = Home(tmp_path)
    key = home.api_key()
    home.write_state(StackState(phase="ready", supervisor=identify(os.getpid()), url="http://127.0.0.1:2"))
    with connect_local(home) as client:
        assert client.url == "http://127.0.0.1:2"
        assert client.service._shell.configuration.api_key == key


def test_the_only_wrong_field_is_not_told_twice():
    error = refused(
        httpx.Response(
            422,
            json={
                "detail": "#/epochs: must be at least 1",
                "errors": [{"pointer": "#/epochs", "detail": "must be at least 1"}],
            },
        )
    )
    assert str(error) == "#/epochs: must be at least 1"


def test_what_a_person_types_stays_one_part_of_the_path():
    assert path_of("jobs", "../a b?c", "logs") == "/v1/jobs/..%2Fa%20b%3Fc/logs"
