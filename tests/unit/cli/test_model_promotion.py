import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from heimdall_core.cli import model_promotion
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import RequestRefused
from heimdall_core.cli.models_commands import app
from heimdall_core.domain.errors import InvalidRequest

Answer = tuple[int, dict[str, Any]]
CHECKS = [
    {"name": "verified", "passed": True, "detail": "the exported files were verified"},
    {"name": "median_error_m", "passed": False, "detail": "1,300 m against 1,000 m of version 1"},
]
VERDICT = {"passed": False, "champion_version": 1, "checks": CHECKS, "evaluate": []}
EVALUATE = {
    "kind": "evaluate",
    "model": {"name": "north", "version": 1},
    "dataset": {"name": "alps", "version": 2},
    "split": "test",
}
MODEL = {"name": "north", "champion_version": 2, "previous_version": 1}
EVENT = {
    "id": 7,
    "at": "2026-03-01T12:00:00Z",
    "event": "model.promoted",
    "version": 2,
    "former_version": 1,
    "actor": "ann",
    "reason": None,
    "forced": False,
    "verdict": None,
}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, Any]]]:
    """Lets the commands talk to fixed answers by method and path; returns what was asked."""

    def start(**answers: Answer) -> list[tuple[str, Any]]:
        asked: list[tuple[str, Any]] = []

        def handle(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content) if request.content else None
            asked.append((f"{request.method} {request.url.raw_path.decode()}", body))
            status, document = answers[request.method.lower()]
            return httpx.Response(status, json=document)

        transport = httpx.MockTransport(handle)
        monkeypatch.setattr(
            model_promotion, "connect", lambda: ApiClient("http://127.0.0.1:1", "hmd_k", transport=transport)
        )
        return asked

    return start


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("model", ["north", "north/", "/2", "north/x", "north/2/3"])
def test_a_promotion_names_a_version(serve: Any, model: str) -> None:
    asked = serve()
    failure = run("promote", model).exception
    assert isinstance(failure, InvalidRequest)
    assert "NAME/VERSION" in str(failure)
    assert asked == []


def test_force_without_a_reason_is_not_even_asked_for(serve: Any) -> None:
    asked = serve()
    for reason in ([], ["--reason", "  "]):
        failure = run("promote", "north/2", "--force", *reason).exception
        assert isinstance(failure, InvalidRequest)
        assert "--reason" in str(failure)
    assert asked == []


def refused(**verdict: Any) -> Answer:
    problem = {
        "code": "promotion_refused",
        "detail": "version 2 of model 'north' is kept out",
        "hint": "force",
    }
    return 409, problem | {"verdict": VERDICT | verdict}


def test_a_refusal_shows_every_check_and_is_an_error(serve: Any) -> None:
    serve(post=refused())
    answer = run("promote", "north/2")
    assert isinstance(answer.exception, RequestRefused)
    assert "kept out" in str(answer.exception)
    lines = {line.split()[0]: line for line in answer.output.splitlines()}
    assert "passed" in lines["verified"]
    assert "FAILED" in lines["median_error_m"]
    assert "1,300 m against 1,000 m" in lines["median_error_m"]


def test_a_refusal_for_want_of_a_measurement_shows_the_command(serve: Any) -> None:
    serve(post=refused(evaluate=[EVALUATE]))
    assert "heimdall jobs evaluate north/1 alps/2 --watch" in run("promote", "north/2").output


def test_a_refusal_as_json_is_the_problem(serve: Any) -> None:
    serve(post=refused())
    told = json.loads(run("promote", "north/2", "--json").output)
    assert (told["code"], told["verdict"]["checks"][1]["passed"]) == ("promotion_refused", False)


def test_another_problem_shows_no_checks(serve: Any) -> None:
    serve(post=(404, {"code": "model_version_not_found", "detail": "model 'north' has no version 9"}))
    answer = run("promote", "north/9")
    assert isinstance(answer.exception, RequestRefused)
    assert answer.output == ""


def test_a_promotion_says_who_is_champion_and_who_was(serve: Any) -> None:
    event = EVENT | {"forced": True, "reason": "by hand", "verdict": VERDICT}
    asked = serve(post=(200, {"model": MODEL, "changed": True, "event": event}))
    answer = run("promote", "north/2", "--force", "--reason", "by hand")
    assert asked == [("POST /v1/models/north/versions/2:promote", {"force": True, "reason": "by hand"})]
    assert "north/2 is the champion, against the gate; north/1 is the previous version" in answer.output
    assert "FAILED" in answer.output


def test_promoting_the_champion_says_so(serve: Any) -> None:
    serve(post=(200, {"model": MODEL, "changed": False, "event": None}))
    assert "north/2 is the champion already" in run("promote", "north/2").output


def test_a_rollback_is_of_the_champion_that_was_seen(serve: Any) -> None:
    event = EVENT | {"event": "model.rolled_back", "version": 1, "former_version": 2}
    back = {"model": {"name": "north", "champion_version": 1, "previous_version": 2}, "event": event}
    asked = serve(get=(200, MODEL), post=(200, back | {"changed": True}))
    answer = run("rollback", "north", "--reason", "wrong at Aosta")
    assert asked[-1] == (
        "POST /v1/models/north:rollback",
        {"reason": "wrong at Aosta", "champion_version": 2},
    )
    assert "north/1 is the champion; north/2 is the previous version" in answer.output


def compared(**changes: Any) -> Answer:
    version = {
        "metrics": {"median_error_m": 900.0, "nll_per_m2": None},
        "dataset": {"name": "alps", "version": 1},
    }
    return 200, {
        "name": "north",
        "versions": [version | {"version": 1}, version | {"version": 2}],
        "same_sessions": None,
        "evaluate": [],
    } | changes


def test_versions_that_were_not_measured_alike_are_shown_with_the_command(serve: Any) -> None:
    asked = serve(get=compared(evaluate=[EVALUATE]))
    shown = run("compare", "north", "1", "2").output
    assert asked[0][0] == "GET /v1/models/north:compare?versions=1%2C2"
    assert "alps/1" in shown
    assert "heimdall jobs evaluate north/1 alps/2 --watch" in shown


def test_a_comparison_is_a_table_with_intervals(serve: Any) -> None:
    rows = [
        {
            "metric": "median_error_m",
            "values": [1000.0, 900.0],
            "difference": -100.0,
            "interval": [-150.0, -50.0],
            "better": 2,
        },
        {
            "metric": "nll_per_m2",
            "values": [17.0, 17.1],
            "difference": 0.1,
            "interval": [-0.2, 0.3],
            "better": None,
        },
    ]
    shared = {"dataset": {"name": "alps", "version": 2}, "num_sessions": 60, "differences": rows}
    serve(get=compared(same_sessions=shared))
    shown = run("compare", "north", "1", "2").output
    assert "60 test sessions of alps/2" in shown
    for part in ("north/1", "north/2", "1,000 m", "900 m", "-150 m to -50 m", "0.100", "neither, for sure"):
        assert part in shown


def test_no_common_session_is_said(serve: Any) -> None:
    shared = {"dataset": {"name": "alps", "version": 2}, "num_sessions": 0, "differences": []}
    serve(get=compared(same_sessions=shared))
    assert "cannot be compared" in run("compare", "north", "1", "2").output


def test_events_say_what_failed_and_what_was_forced(serve: Any) -> None:
    events = [
        EVENT | {"event": "model.promotion_refused", "verdict": VERDICT},
        EVENT | {"id": 8, "forced": True, "reason": "by hand", "verdict": VERDICT},
    ]
    asked = serve(get=(200, {"data": events, "next_after": 8}))
    shown = run("events", "north", "--after", "6").output
    assert asked[0][0] == "GET /v1/models/north/events?after=6&limit=100"
    assert "promotion_refused" in shown
    assert "failed: median_error_m" in shown
    assert "by hand; forced against median_error_m" in shown


def test_json_is_what_the_service_said(serve: Any) -> None:
    serve(get=(200, {"data": [EVENT], "next_after": 7}))
    assert json.loads(run("events", "north", "--json").output) == [EVENT]
