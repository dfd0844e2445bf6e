import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from heimdall_core.cli import schedules_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.domain.errors import InvalidRequest

ID = "sch_" + "a" * 24
CRON = {"type": "cron", "expression": "0 3 * * mon", "time_zone": "Europe/Rome"}
Serve = Callable[..., list[httpx.Request]]


def schedule(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "name": "Monday night",
        "model": "localization",
        "when": CRON | {"jitter_seconds": 0, "catch_up": "skip"},
        "retrain": {"reason": "weekly", "force": False},
        "enabled": True,
        "min_interval_seconds": 0,
        "owner": "ann",
        "next_run_at": "2026-03-02T02:00:00Z",
        "last_run_at": None,
        "last_outcome": None,
        "job_id": None,
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
        monkeypatch.setattr(schedules_commands, "connect", client)
        return asked

    return start


def run(*arguments: str) -> Result:
    return CliRunner().invoke(schedules_commands.app, list(arguments))


@pytest.mark.parametrize(
    ("options", "when"),
    [
        (("--cron", "0 3 * * mon", "--time-zone", "Europe/Rome"), CRON),
        (("--new-sessions", "50"), {"type": "new_sessions", "sessions": 50}),
        (("--drift", "0.5", "--consecutive", "3"), {"type": "drift", "threshold": 0.5, "consecutive": 3}),
    ],
)
def test_a_schedule_is_added_with_what_it_waits_for(
    serve: Serve, options: tuple[str, ...], when: dict[str, Any]
) -> None:
    asked = serve(schedule(), 201)
    ran = run("add", "Monday night", "--model", "localization", *options, "--set", "training.epochs=60")
    assert ran.exit_code == 0, ran.exception
    body = json.loads(asked[0].content)
    assert body["when"] == when
    assert body["retrain"]["reason"] == "Monday night"
    assert body["retrain"]["overrides"] == {"training": {"epochs": 60}}
    assert "promote" not in body["retrain"]
    assert "0 3 * * mon (Europe/Rome)" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nightly", "--cron", "0 3 * * *"), "needs a NAME and a --model"),
        (("nightly", "--model", "m"), "one of --cron, --new-sessions and --drift"),
        (("nightly", "--model", "m", "--drift", "1", "--new-sessions", "2"), "one of --cron"),
        (("nightly", "--model", "m", "--drift", "1", "--time-zone", "UTC"), "--time-zone does not go with"),
        (("nightly", "--model", "m", "--new-sessions", "2", "--source", "a"), "--source does not go with"),
        (("nightly", "--file", "x.json"), "not both"),
    ],
)
def test_what_contradicts_itself_is_refused_before_it_is_sent(
    serve: Serve, arguments: tuple[str, ...], message: str
) -> None:
    asked = serve(schedule())
    ran = run("add", *arguments)
    assert isinstance(ran.exception, InvalidRequest)
    assert message in ran.exception.message
    assert asked == []


def test_a_whole_request_comes_from_a_file(serve: Serve, tmp_path: Path) -> None:
    asked = serve(schedule(), 201)
    body = {"name": "n", "model": "m", "when": CRON, "retrain": {"reason": "r"}}
    (tmp_path / "schedule.json").write_text(json.dumps(body))
    assert run("add", "--file", str(tmp_path / "schedule.json"), "--json").exit_code == 0
    assert json.loads(asked[0].content) == body


def test_schedules_are_listed_with_what_came_of_the_last_occasion(serve: Serve) -> None:
    outcome = {"outcome": "skipped", "code": "nothing_new", "at": None, "job_id": None, "detail": None}
    asked = serve({"data": [schedule(last_outcome=outcome)], "next_cursor": None})
    shown = run("list", "--model", "localization").stdout
    assert "skipped (nothing_new)" in shown
    assert asked[0].url.params["model"] == "localization"


def test_a_schedule_is_shown_with_why_there_was_no_job(serve: Serve) -> None:
    outcome = {"outcome": "refused", "code": "no_champion", "detail": "the model has no champion"}
    serve(schedule(last_outcome=outcome))
    shown = run("show", ID).stdout
    assert "refused (no_champion)" in shown
    assert "the model has no champion" in shown
    assert json.loads(run("show", ID, "--json").stdout)["id"] == ID


def test_a_schedule_is_run_switched_and_removed(serve: Serve) -> None:
    asked = serve(schedule(job_id="job_1", last_outcome={"outcome": "queued", "code": None}), 202)
    assert run("run", ID).stdout == "job job_1 queued\n"
    assert asked[0].url.path == f"/v1/schedules/{ID}:run"
    asked = serve(schedule(enabled=False))
    assert run("disable", ID).stdout == f"{ID} is disabled\n"
    assert json.loads(asked[0].content) == {"enabled": False}
    asked = serve(None, 204)
    assert run("remove", ID).stdout == f"{ID} is removed\n"
    assert asked[0].method == "DELETE"
