"""Every command of ``heimdall`` against the whole service: recordings in, a prediction out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heimdall_core.cli.main import app
from heimdall_core.domain.errors import HeimdallError
from heimdall_core.embedded import EmbeddedStack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Run = Callable[..., str]


@pytest.fixture(scope="module")
def home(module_folder: Path) -> Iterator[Path]:
    root = module_folder / "home"
    with EmbeddedStack(root, services=True):
        yield root


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process; returns what it printed."""
    monkeypatch.setenv("HEIMDALL_HOME", str(home))
    monkeypatch.delenv("HEIMDALL_URL", raising=False)

    def invoke(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


def json_of(printed: str):
    return json.loads(printed)


def test_recordings_become_a_model_that_predicts(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    run("simulate", folder, "--sessions", 60)
    (folder / "broken.sigmf").write_bytes(b"not a tar")

    told = run("recordings", "import", folder)
    assert "60 sessions accepted, 0 known already, 1 refused" in told
    assert "refused broken.sigmf" in told
    import_job = json_of(run("jobs", "list", "--kind", "import", "--json"))[0]
    assert import_job["status"] == "succeeded"
    assert run("recordings", "list", "--status", "approved").startswith("no recording session")
    assert run("recordings", "approve", "--import-job", import_job["id"]) == "60 sessions approved\n"
    sessions = json_of(run("recordings", "list", "--limit", 200, "--json"))
    assert len(sessions) == 60
    assert sessions[0]["id"] in run("recordings", "list")

    frozen = json_of(run("datasets", "create", "northwest", "--import-job", import_job["id"], "--json"))
    assert sum(frozen["counts"][split] for split in ("train", "val", "test")) == 60
    assert "northwest version 1:" in run("datasets", "create", "northwest", "--import-job", import_job["id"])
    assert "northwest" in run("datasets", "list")
    assert json_of(run("datasets", "show", "northwest", 1, "--json"))["digest"] == frozen["digest"]

    told = run("jobs", "submit", "northwest/1", "--model", "tiny", "--backbone", "micro", "--epochs", 1, "-w")
    assert "first training step" in told
    job = json_of(run("jobs", "list", "--kind", "train", "--json"))[0]
    assert job["id"] in run("jobs", "list")
    assert json_of(run("jobs", "show", job["id"], "--json"))["result"]["model"] == {
        "name": "tiny",
        "version": 1,
    }
    assert "registered as tiny/1\n" in run("jobs", "watch", job["id"])
    run("jobs", "logs", job["id"])

    assert "tiny" in run("models", "list")
    assert "champion" in run("models", "list", "tiny")
    evaluated = json_of(run("jobs", "evaluate", "tiny", "northwest", "--watch", "--json"))
    assert evaluated["result"]["sessions_trained_on"] == 0
    checkpoint = json_of(run("jobs", "checkpoints", job["id"], "--json"))[0]
    told = run("jobs", "export", checkpoint["id"], "--opset", 17, "--register", "--watch")
    assert "registered as tiny/2" in told
    version = json_of(run("models", "show", "tiny", "--json"))
    onnx = tmp_path / "tiny.onnx"
    assert version["onnx"]["sha256"] in run("models", "download", f"tiny/{version['version']}", "--to", onnx)
    assert onnx.stat().st_size == version["onnx"]["bytes"]

    by_id = json_of(run("predict", "tiny", sessions[0]["id"], "--json"))
    archive = next(folder.glob(f"{sessions[0]['name']}.sigmf"))
    assert json_of(run("predict", f"tiny/{version['version']}", archive, "--json")) == by_id
    assert by_id[0]["error_m"] > 0
    assert "error" in run("predict", "tiny", archive)


def test_a_queued_job_is_cancelled(run: Run, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"kind": "train", "dataset": {"name": "northwest", "version": 1}}))
    job = json_of(
        run("jobs", "submit", "--file", request, "--backbone", "micro", "--priority", "low", "--json")
    )
    assert job["spec"]["model"]["backbone"] == "micro"
    assert job["id"] in run("jobs", "cancel", job["id"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jobs", "show", "job_nosuch"), "such an id"),
        (("jobs", "submit", "nosuch"), "nosuch"),
        (("models", "show", "nosuch"), "nosuch"),
        (("models", "show", "tiny/99"), "no version 99"),
        (("predict", "tiny", "/nowhere/x.sigmf"), "does not exist"),
        (("datasets", "show", "northwest", "99"), "no version 99"),
    ],
)
def test_what_is_not_there_is_told(run: Run, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(HeimdallError, match=message):
        run(*arguments)
