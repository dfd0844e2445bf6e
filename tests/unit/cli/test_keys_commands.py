import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from heimdall_core.cli import keys_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import RequestRefused
from heimdall_core.domain.errors import Conflict, NotFound

KEY = "hmd_7Kq2xAr0Xw8vKcOpyIhJ5mVbFg3nTzQsLuE1dYi9HkM"
Answers = Callable[[httpx.Request], httpx.Response]


def key(**changes: Any) -> dict[str, Any]:
    return {
        "id": "key_" + "a" * 24,
        "owner": "ann",
        "name": "for ci",
        "prefix": KEY[:10],
        "scopes": ["jobs:read"],
        "status": "active",
        "created_by": None,
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
    } | changes


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[httpx.Request]]:
    """Lets the commands talk to a function; returns what was asked, as it comes."""

    def start(answer: Answers) -> list[httpx.Request]:
        asked: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return answer(request)

        transport = httpx.MockTransport(handle)
        monkeypatch.setattr(
            keys_commands, "connect", lambda: ApiClient("http://127.0.0.1:1", "hmd_k", transport=transport)
        )
        return asked

    return start


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keys_commands.app, list(arguments))


def listing(*keys: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": list(keys), "next_cursor": None})


def test_a_key_that_the_caller_may_not_make_is_told_as_the_service_tells_it(serve: Any) -> None:
    problem = {
        "detail": "the key would open what the caller's own does not: admin",
        "code": "scope_not_yours",
    }
    serve(lambda _: httpx.Response(403, json=problem))
    result = run("create", "n", "--scope", "admin")
    assert isinstance(result.exception, RequestRefused)
    assert "admin" in str(result.exception)


def test_an_unknown_scope_is_a_wrong_usage(serve: Any) -> None:
    asked = serve(lambda _: httpx.Response(201, json=key(key=KEY)))
    assert run("create", "n", "--scope", "jobs:own").exit_code == 2
    assert run("create", "n").exit_code == 2
    assert asked == []


def test_a_key_whose_answer_was_lost_is_not_taken_for_one_that_can_be_used(serve: Any) -> None:
    serve(lambda _: httpx.Response(201, json=key(key=None)))
    result = run("create", "n", "--scope", "jobs:read")
    assert isinstance(result.exception, Conflict)
    assert key()["id"] in (result.exception.hint or "")


def test_the_key_alone_is_on_stdout(serve: Any) -> None:
    asked = serve(lambda _: httpx.Response(201, json=key(key=KEY)))
    result = run("create", "for ci", "--scope", "jobs:read", "--scope", "jobs:write", "--days", "30")
    assert result.exit_code == 0
    assert result.stdout == f"{KEY}\n"
    assert "not shown again" in result.stderr
    body = json.loads(asked[0].content)
    assert body["scopes"] == ["jobs:read", "jobs:write"]
    assert set(body) == {"name", "scopes", "expires_at"}


def test_keys_are_listed_with_what_they_open(serve: Any) -> None:
    asked = serve(lambda _: listing(key(), key(owner="bob", scopes=["admin"])))
    result = run("list")
    assert result.exit_code == 0
    for text in (KEY[:10], "for ci", "jobs:read", "admin", "bob"):
        assert text in result.stdout
    assert asked[0].url.params["status"] == "active"
    run("list", "--all", "--owner", "bob")
    assert "status" not in asked[1].url.params
    assert asked[1].url.params["owner"] == "bob"


def test_a_key_is_revoked_by_its_id_or_by_how_it_begins(serve: Any) -> None:
    revoked = key(status="revoked")
    asked = serve(lambda r: listing(key()) if r.method == "GET" else httpx.Response(200, json=revoked))
    assert "opens nothing" in run("revoke", key()["id"]).stdout
    assert "opens nothing" in run("revoke", KEY).stdout
    assert [request.method for request in asked] == ["DELETE", "GET", "DELETE"]
    assert all(KEY not in str(request.url) for request in asked), "the key itself is not sent"


@pytest.mark.parametrize(("found", "error"), [([], NotFound), ([key(), key(id="key_" + "b" * 24)], Conflict)])
def test_a_beginning_that_names_no_one_key_revokes_none(serve: Any, found: Any, error: Any) -> None:
    asked = serve(lambda _: listing(*found))
    assert isinstance(run("revoke", "hmd_7Kq2xA").exception, error)
    assert {request.method for request in asked} == {"GET"}


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        ({"key_id": "key_1", "scopes": ["admin"], "expires_at": None}, "ann (key_1): admin"),
        ({"key_id": None, "scopes": [], "expires_at": None}, "ann (a token): nothing"),
    ],
)
def test_who_calls_is_told(serve: Any, caller: Any, shown: str) -> None:
    serve(lambda _: httpx.Response(200, json={"owner": "ann", **caller}))
    assert run("whoami").stdout.strip() == shown
