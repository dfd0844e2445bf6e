"""What the commands that submit a job send."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from heimdall_core.cli import jobs_submitting, main
from heimdall_core.cli.client import ApiClient


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies of the jobs that are submitted."""
    bodies: list[dict[str, Any]] = []

    def accept(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(202, json={"id": "job_1", "status": "queued"})

    transport = httpx.MockTransport(accept)
    monkeypatch.setattr(
        jobs_submitting, "connect", lambda: ApiClient("http://127.0.0.1:1", "hmd_k", transport=transport)
    )
    return bodies


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ((), None),
        (("--opset", "17"), [{"opset": 17}]),
        (("--include-frontend",), [{"include_frontend": True}]),
        (("--precision", "fp16", "--precision", "int8"), [{"precision": "fp16"}, {"precision": "int8"}]),
        (
            ("--precision", "int8", "--opset", "18", "--include-frontend"),
            [{"precision": "int8", "opset": 18, "include_frontend": True}],
        ),
    ],
)
def test_an_export_asks_for_the_files_that_were_named(
    sent: list[dict[str, Any]], options: tuple[str, ...], outputs: list[dict[str, Any]] | None
) -> None:
    result = CliRunner().invoke(main.app, ["jobs", "export", "localization/7", *options])
    assert result.exit_code == 0, result.output
    (body,) = sent
    assert body["source"] == {"model": {"name": "localization", "version": 7}}
    assert body.get("outputs") == outputs
