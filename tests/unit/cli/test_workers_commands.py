import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from heimdall_core.cli import workers_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import RequestRefused

NAME = "worker@giaveno"
Answers = Callable[[httpx.Request], httpx.Response]


def worker(**changes: Any) -> dict[str, Any]:
    return {
        "name": NAME,
        "slots": 2,
        "light_slots": 1,
        "kinds": None,
        "accelerator": "2 gpu",
        "draining": False,
        "is_alive": True,
        "running_job_ids": [],
        "last_seen_at": "2026-03-01T12:00:00Z",
    } | changes


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[str]]:
    """Lets the commands talk to a function; returns what was asked, as it comes."""
    monkeypatch.setattr(workers_commands, "POLL_SECONDS", 0.0)

    def start(answer: Answers) -> list[str]:
        asked: list[str] = []

        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(f"{request.method} {request.url.raw_path.decode()}")
            return answer(request)

        transport = httpx.MockTransport(handle)
        monkeypatch.setattr(
            workers_commands, "connect", lambda: ApiClient("http://127.0.0.1:1", "hmd_k", transport=transport)
        )
        return asked

    return start


def always(*workers: dict[str, Any]) -> Answers:
    return lambda _: httpx.Response(200, json={"data": list(workers)})


def each(answers: Iterator[dict[str, Any]]) -> Answers:
    return lambda _: httpx.Response(200, json={"data": [worker(name="other"), next(answers)]})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(workers_commands.app, list(arguments))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    workers_commands.app(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "takes jobs"),
        ({"draining": True, "running_job_ids": ["job_1"]}, "draining"),
        ({"draining": True}, "drained"),
        ({"is_alive": False, "draining": True}, "silent"),
    ],
)
def test_the_state_is_told_in_words(facts: dict[str, Any], state: str) -> None:
    assert workers_commands.state_of(worker(**facts)) == state


def test_workers_are_listed_with_what_they_run(
    serve: Callable[[Answers], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(always(worker(running_job_ids=["job_1", "job_2"]), worker(name="w2", kinds=["train", "export"])))
    out = shown(capsys, "list")
    for text in (NAME, "2+1", "job_1", "job_2", "train, export", "all"):
        assert text in out


def test_an_empty_fleet_says_so_and_json_is_for_programs(
    serve: Callable[[Answers], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(always())
    assert shown(capsys, "list") == "no worker has ever been seen\n"
    assert json.loads(shown(capsys, "list", "--json")) == []


def test_a_drain_asks_once_and_tells_what_still_runs(
    serve: Callable[[Answers], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = serve(always(worker(draining=True, running_job_ids=["job_1"])))
    assert shown(capsys, "drain", NAME) == f"{NAME} takes no new job; 1 still running\n"
    assert asked == ["POST /v1/workers/worker%40giaveno:drain"]


def test_a_drain_waits_until_nothing_runs_on_it(
    serve: Callable[[Answers], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    left = [["job_1", "job_2"], ["job_1"], []]
    asked = serve(each(iter(worker(draining=True, running_job_ids=ids) for ids in left)))
    assert shown(capsys, "drain", NAME, "--wait") == f"{NAME} takes no new job; nothing runs on it\n"
    assert asked == ["POST /v1/workers/worker%40giaveno:drain", "GET /v1/workers", "GET /v1/workers"]


def test_a_drained_worker_takes_jobs_again(
    serve: Callable[[Answers], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = serve(always(worker()))
    assert json.loads(shown(capsys, "undrain", NAME, "--json"))["draining"] is False
    assert shown(capsys, "undrain", NAME) == f"{NAME} takes jobs again\n"
    assert set(asked) == {"POST /v1/workers/worker%40giaveno:undrain"}


def test_an_unknown_worker_is_told_as_the_service_tells_it(serve: Callable[[Answers], list[str]]) -> None:
    problem = {"detail": "no worker 'x'", "code": "worker_not_found"}
    serve(lambda _: httpx.Response(404, json=problem))
    result = run("drain", "x")
    assert isinstance(result.exception, RequestRefused)
    assert str(result.exception) == "no worker 'x'"


def test_wrong_usage_exits_with_2() -> None:
    assert run("drain").exit_code == 2
    assert run("explode").exit_code == 2
