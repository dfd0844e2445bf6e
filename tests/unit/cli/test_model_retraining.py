import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from heimdall_core.cli import model_retraining
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.model_retraining import read_overrides
from heimdall_core.cli.models_commands import app
from heimdall_core.domain.errors import InvalidRequest

JOB = {
    "id": "job_1",
    "outcome": "joined",
    "new_sessions": 1200,
    "withdrawn_sessions": 0,
    "left_as_it_is": ["overrides"],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command asked of a service that answers with a joined job."""
    asked: list[Any] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append((f"{request.method} {request.url.path}", json.loads(request.content)))
        return httpx.Response(200, json=JOB)

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(
        model_retraining, "connect", lambda: ApiClient("http://127.0.0.1:1", "hmd_k", transport=transport)
    )
    return asked


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["retrain", "north", "--reason", "drift", *arguments])


@pytest.mark.parametrize(
    "settings",
    [["epochs"], ["=3"], ["training.=3"], ["a=1", "a=2"], ["training=1", "training.epochs=2"]],
)
def test_settings_that_say_nothing_or_contradict_one_another_are_refused(settings: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_overrides(settings)
    assert refusal.value.hint


def test_settings_become_a_merge_patch() -> None:
    settings = [
        "training.epochs=3",
        "training.keep=last",
        "training.radio_map=null",
        "tags.site.name=aosta",
        "priority=high",
    ]
    assert read_overrides(settings) == {
        "training": {"epochs": 3, "keep": "last", "radio_map": None},
        "tags": {"site.name": "aosta"},
        "priority": "high",
    }


def test_every_option_reaches_the_service_and_what_serves_the_call_is_told(asked: list[Any]) -> None:
    options = [
        "--dedupe-key",
        "k",
        "--warm-start",
        "--promote",
        "never",
        "--min-new-sessions",
        "5",
        "--force",
    ]
    told = run(*options, "--set", "training.epochs=3")
    assert told.exit_code == 0, told.output
    ((path, body),) = asked
    assert path == "POST /v1/models/north:retrain"
    assert body == {
        "reason": "drift",
        "dedupe_key": "k",
        "warm_start": True,
        "promote": "never",
        "min_new_sessions": 5,
        "force": True,
        "overrides": {"training": {"epochs": 3}},
    }
    for words in ("job_1", "queued already", "1,200 new", "left as it is", "overrides"):
        assert words in told.output


def test_without_options_the_service_decides_and_each_call_is_an_occasion_of_its_own(
    asked: list[Any],
) -> None:
    assert run().exit_code == run().exit_code == 0
    (_, one), (_, other) = asked
    assert one["dedupe_key"] != other["dedupe_key"]
    assert {"promote", "min_new_sessions", "dataset"}.isdisjoint(one)
