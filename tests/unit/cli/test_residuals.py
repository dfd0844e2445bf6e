"""``heimdall jobs residuals``: which labels are improbable, and how to reject one."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from heimdall_core.cli import jobs_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.domain.errors import InvalidRequest


def row(number: int, **changes: object) -> dict[str, object]:
    return {
        "session_id": f"id-{number}",
        "split": "test",
        "trained_on": False,
        "latitude": 45.0,
        "longitude": 8.0,
        "predicted_latitude": 45.1,
        "predicted_longitude": 8.1,
        "error_m": 100.0 * number,
        "sigma_east_m": 500.0,
        "sigma_north_m": 700.0,
        "correlation": 0.0,
        "squared_mahalanobis": 1.0,
        "p_value": 0.6,
        "neighbours_m": None,
        "receivers_heard": 3,
        "mean_snr_db": None,
    } | changes


RESIDUALS = {
    "schema": 1,
    "sessions": [row(n) for n in range(40)],
    "suspects": [row(7, p_value=1e-9, improbability=3.0, evidence=["model", "neighbours"])],
}


@pytest.fixture
def files(monkeypatch):
    """The job's artifacts; a test may change them."""
    listed = [{"name": "residuals.json", "download_url": "http://store.test/r", "sha256": "a" * 64}]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": listed}))
    monkeypatch.setattr(
        jobs_commands, "connect", lambda **_: ApiClient("http://api.test", "key", transport=transport)
    )

    def download(url: str, target: Path, *, sha256: str) -> None:
        assert (url, sha256) == ("http://store.test/r", "a" * 64)
        target.write_text(json.dumps(RESIDUALS))

    monkeypatch.setattr(jobs_commands, "download_checked", download)
    return listed


def run(*arguments):
    result = CliRunner().invoke(jobs_commands.app, ["residuals", "job_1", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_job_without_residuals_says_which_jobs_have_some(files):
    files.clear()
    result = CliRunner().invoke(jobs_commands.app, ["residuals", "job_1"])
    assert isinstance(result.exception, InvalidRequest)
    assert "trainings" in result.exception.hint


def test_the_largest_errors_come_first_and_suspects_are_counted(files):
    lines = run("--limit", "3").splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["id-39", "id-38", "id-37"]
    assert "3 of 40" in lines[4]
    assert "1 labels are improbable" in lines[5]


def test_suspects_are_shown_with_the_command_that_rejects_one(files):
    said = run("--suspects")
    assert "model + neighbours" in said
    assert "heimdall recordings reject id-7" in said
    assert "id-39" not in said


def test_suspects_as_json_are_those_of_the_file(files):
    assert json.loads(run("--suspects", "--json")) == RESIDUALS["suspects"]
    assert json.loads(run("--json")) == RESIDUALS
