import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from heimdall_core.cli import webhooks_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.domain.errors import Conflict

ID = "whe_" + "a" * 24
DELIVERY_ID = "whd_" + "b" * 24
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
Serve = Callable[..., list[httpx.Request]]


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "url": "https://example.org/hooks",
        "description": "",
        "events": ["*"],
        "kinds": [],
        "all_owners": False,
        "owner": "ann",
        "enabled": True,
        "disabled_at": None,
        "disabled_reason": None,
        "last_success_at": None,
        "former_secret_until": None,
    } | changes


def delivery(**changes: Any) -> dict[str, Any]:
    refused = {"number": 1, "at": "2026-03-01T12:00:00Z", "status_code": 500, "error": "not taken"}
    return {
        "id": DELIVERY_ID,
        "event": "job.failed",
        "status": "pending",
        "endpoint_id": ID,
        "message_id": "evt_42",
        "num_attempts": 1,
        "attempts": [refused | {"duration_ms": 12.4}],
        "next_attempt_at": "2026-03-01T12:00:05Z",
        "created_at": "2026-03-01T12:00:00Z",
        "finished_at": None,
    } | changes


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Lets the commands talk to one answer; returns what was asked, as it comes."""

    def start(answer: dict[str, Any] | None, status: int = 200) -> list[httpx.Request]:
        asked: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return httpx.Response(status) if answer is None else httpx.Response(status, json=answer)

        transport = httpx.MockTransport(handle)
        client = lambda: ApiClient("http://127.0.0.1:1", "hmd_k", transport=transport)  # noqa: E731
        monkeypatch.setattr(webhooks_commands, "connect", client)
        return asked

    return start


def run(*arguments: str) -> Result:
    return CliRunner().invoke(webhooks_commands.app, list(arguments))


def test_an_endpoint_is_added_with_what_was_asked_for_and_its_secret_is_all_of_stdout(serve: Serve) -> None:
    asked = serve(endpoint(secret=SECRET), 201)
    ran = run("add", "https://example.org/hooks", "--event", "job.*", "--event", "model.*", "--kind", "train")
    assert (ran.exit_code, ran.stdout) == (0, SECRET + "\n")
    body = json.loads(asked[0].content)
    wanted = {"url": "https://example.org/hooks", "events": ["job.*", "model.*"], "kinds": ["train"]}
    assert body == wanted | {"all_owners": False}


@pytest.mark.parametrize("command", [("add", "https://example.org/hooks"), ("rotate", ID)])
def test_a_secret_whose_answer_was_lost_is_not_passed_over(serve: Serve, command: tuple[str, ...]) -> None:
    serve(endpoint(secret=None))
    ran = run(*command)
    assert isinstance(ran.exception, Conflict)
    assert f"heimdall webhooks rotate {ID}" in (ran.exception.hint or "")


def test_a_rotated_secret_is_told_with_how_long_the_former_counts(serve: Serve) -> None:
    asked = serve(endpoint(secret=SECRET, former_secret_until="2026-03-02T12:00:00Z"))
    ran = run("rotate", ID)
    assert asked[0].url.path == f"/v1/webhook-endpoints/{ID}:rotate-secret"
    assert ran.stdout == SECRET + "\n"
    assert "the former one signs too until 2026-03-02" in ran.stderr


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "enabled"),
        ({"enabled": False, "disabled_reason": "request"}, "disabled"),
        ({"enabled": False, "disabled_reason": "gone"}, "disabled (gone)"),
    ],
)
def test_endpoints_are_listed_with_why_they_are_told_nothing(
    serve: Serve, changes: dict[str, Any], state: str
) -> None:
    serve({"data": [endpoint(**changes)], "next_cursor": None})
    assert f" {state} " in run("list").stdout


def test_deliveries_are_listed_with_the_last_answer(serve: Serve) -> None:
    asked = serve({"data": [delivery()], "next_cursor": None})
    ran = run("deliveries", ID, "--status", "pending")
    assert asked[0].url.params["status"] == "pending"
    assert "500, not taken" in ran.stdout
    assert json.loads(run("deliveries", ID, "--json").stdout) == [delivery()]


def test_each_attempt_of_a_delivery_is_shown(serve: Serve) -> None:
    serve(delivery())
    shown = run("delivery", DELIVERY_ID).stdout
    assert "job.failed (evt_42): pending" in shown
    assert "12 ms" in shown


@pytest.mark.parametrize(
    ("arguments", "method", "path"),
    [
        (("test", ID), "POST", f"/v1/webhook-endpoints/{ID}:test"),
        (("replay", DELIVERY_ID), "POST", f"/v1/webhook-deliveries/{DELIVERY_ID}:replay"),
    ],
)
def test_a_message_is_sent_and_where_to_look_is_told(
    serve: Serve, arguments: tuple[str, ...], method: str, path: str
) -> None:
    asked = serve(delivery(), 202)
    ran = run(*arguments)
    assert (asked[0].method, asked[0].url.path) == (method, path)
    assert f"heimdall webhooks delivery {DELIVERY_ID}" in ran.stderr


def test_an_endpoint_is_switched_and_removed(serve: Serve) -> None:
    asked = serve(endpoint(enabled=False, disabled_reason="request"))
    assert run("disable", ID).stdout == f"{ID} is disabled\n"
    assert json.loads(asked[0].content) == {"enabled": False}
    asked = serve(None, 204)
    assert run("remove", ID).stdout == f"{ID} is removed\n"
    assert (asked[0].method, asked[0].url.path) == ("DELETE", f"/v1/webhook-endpoints/{ID}")
