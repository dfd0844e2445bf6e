import json
import subprocess
import sys
from importlib.metadata import version

import httpx
import pytest
from typer.testing import CliRunner

from heimdall_core.cli import jobs_commands, main, recordings_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.jobs_submitting import _version_reference
from heimdall_core.domain.errors import InvalidRequest


@pytest.fixture(autouse=True)
def _no_server(monkeypatch, tmp_path):
    monkeypatch.delenv("HEIMDALL_URL", raising=False)
    monkeypatch.setenv("HEIMDALL_HOME", str(tmp_path / "home"))


def run_main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["heimdall", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main.main()
    return int(exit_.value.code or 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list"),
        ("jobs", "submit", "northwest"),
        ("datasets", "list"),
        ("models", "show", "localization"),
        ("recordings", "list"),
        ("models", "download", "localization"),
        ("predict", "localization", "some-session"),
        ("recordings", "show", "some-session"),
    ],
)
def test_without_a_server_every_command_says_so_in_one_line_and_fails(monkeypatch, capsys, arguments):
    assert run_main(monkeypatch, *arguments) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: no Heimdall runs in ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jobs", "submit"), "name either a dataset or --file"),
        (("recordings", "approve"), "name either sessions or --import-job"),
        (("jobs", "submit", "--file", "/nowhere.json"), "cannot read /nowhere.json"),
        (("demo", "--power-table", "/nowhere"), "/nowhere has no receivers.csv"),
    ],
)
def test_a_request_that_cannot_be_made_is_told(monkeypatch, capsys, arguments, message):
    assert run_main(monkeypatch, *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("up", "--port", "99999"), ("jobs", "explode"), ("demo", "--sessions", "3"), ("up", "--nope")],
)
def test_wrong_usage_exits_with_2(arguments):
    assert CliRunner().invoke(main.app, list(arguments)).exit_code == 2


def test_status_and_down_of_what_does_not_run(monkeypatch, capsys):
    assert run_main(monkeypatch, "status") == 1
    assert run_main(monkeypatch, "down") == 0
    assert capsys.readouterr().out.count("Heimdall does not run in") == 2


def test_status_as_json(monkeypatch, capsys):
    assert run_main(monkeypatch, "status", "--json") == 1
    status = json.loads(capsys.readouterr().out)
    assert status["running"] is False
    assert status["processes"] == []


@pytest.mark.parametrize("text", ["northwest/", "northwest/x", "northwest/-1"])
def test_a_dataset_version_must_be_a_number(text):
    with pytest.raises(InvalidRequest, match="is not NAME or NAME/VERSION"):
        _version_reference(text)


def test_a_dataset_is_named_with_or_without_its_version():
    assert _version_reference("northwest") == {"name": "northwest"}
    assert _version_reference("northwest/3") == {"name": "northwest", "version": 3}


def test_simulate_writes_archives(monkeypatch, capsys, tmp_path):
    assert run_main(monkeypatch, "simulate", str(tmp_path / "out"), "--sessions", "2") == 0
    assert "2 sessions" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.sigmf"))) == 2


def test_simulate_as_json(monkeypatch, capsys, tmp_path):
    assert run_main(monkeypatch, "simulate", str(tmp_path / "out"), "--sessions", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (path,) = (tmp_path / "out").iterdir()
    assert told == {"folder": str(tmp_path / "out"), "bytes": path.stat().st_size, "files": [path.name]}


def serve(monkeypatch, commands, answer):
    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(
        commands, "connect", lambda: ApiClient("http://127.0.0.1:1", "k", transport=transport)
    )


def test_approving_as_json(monkeypatch, capsys):
    serve(monkeypatch, recordings_commands, lambda _: httpx.Response(200, json={"approved": 2}))
    assert run_main(monkeypatch, "recordings", "approve", "--import-job", "job_1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"approved": 2}


def test_a_log_is_that_of_one_attempt_even_if_another_begins_while_it_is_read(monkeypatch, capsys):
    newest = iter([1, 2, 2])
    written = {(1, 0): "one ", (1, 4): "[bold]\n"}

    def answer(request):
        asked, after = request.url.params, int(request.url.params.get("after", 0))
        attempt = int(asked.get("attempt") or next(newest))
        content = written.get((attempt, after), "")
        page = {"attempt": attempt, "content": content, "next_after": after + len(content)}
        return httpx.Response(200, json=page)

    serve(monkeypatch, jobs_commands, answer)
    assert run_main(monkeypatch, "jobs", "logs", "job_1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"job_id": "job_1", "attempt": 1, "content": "one [bold]\n"}
    newest = iter([1])
    assert run_main(monkeypatch, "jobs", "logs", "job_1") == 0
    assert capsys.readouterr().out == "one [bold]\n"


def test_migrating_as_json_leaves_stdout_to_the_result(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    migration = tmp_path / "python"
    migration.write_text("#!/bin/sh\necho migrated\n")
    migration.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(migration))
    for name in ("DATABASE__URL", "REDIS__URL", "STORAGE__ACCESS_KEY_ID", "STORAGE__SECRET_ACCESS_KEY"):
        scheme = {"DATABASE__URL": "postgresql+psycopg", "REDIS__URL": "redis"}.get(name, "none")
        monkeypatch.setenv(f"HEIMDALL_{name}", f"{scheme}://127.0.0.1:1/0")
    assert run_main(monkeypatch, "migrate", "--json") == 0
    said = capfd.readouterr()
    assert said.err == "migrated\n"
    assert json.loads(said.out)["revision"]


def test_the_command_alone_shows_its_panels(monkeypatch, capsys):
    assert run_main(monkeypatch) in {0, 2}
    shown = capsys.readouterr().out
    places = [shown.index(f"─ {panel} ─") for panel in main.PANELS]
    assert places == sorted(places)


def test_migrating_without_settings_names_the_variables(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, "migrate") == 1
    assert "HEIMDALL_DATABASE__URL is missing" in capsys.readouterr().err


def test_starting_imports_nothing_heavy():
    program = "import sys, heimdall_core.cli.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "matplotlib", "scipy", "sqlalchemy", "pydantic", "boto3", "psycopg", "numpy", "mlflow"}
    assert heavy.isdisjoint(loaded)


def test_the_version_is_told_without_a_command():
    told = CliRunner().invoke(main.app, ["--version"])
    assert (told.exit_code, told.stdout) == (0, f"heimdall {version('heimdall-training')}\n")
