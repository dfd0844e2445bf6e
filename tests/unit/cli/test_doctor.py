import json
import os

import pytest
import typer

from heimdall_core.cli import doctor as doctor_module
from heimdall_core.cli.doctor import checks_of, doctor, document, show_findings
from heimdall_core.cli.doctor_findings import Check, State, broken, doubtful, fine
from heimdall_core.cli.doctor_surroundings import Surroundings, find_surroundings
from heimdall_core.embedded.home import Home, ProcessState, StackState
from heimdall_core.embedded.identity import identify

COMPLETE = {
    "HEIMDALL_DATABASE__URL": "postgresql+psycopg://u:database-secret@db/heimdall",
    "HEIMDALL_REDIS__URL": "redis://:redis-secret@redis/0",
    "HEIMDALL_STORAGE__ACCESS_KEY_ID": "key",
    "HEIMDALL_STORAGE__SECRET_ACCESS_KEY": "storage-secret",
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def running_stack(home: Home) -> None:
    home.api_key()
    home.secrets()
    home.write_state(
        StackState(
            phase="ready",
            supervisor=identify(os.getpid()),
            url="http://127.0.0.1:2",
            ports={"api": 2, "postgres": 3, "valkey": 4, "s3": 5, "mlflow": 6},
            processes=tuple(
                ProcessState(name=n, state="ready") for n in ("postgres", "valkey", "s3", "mlflow")
            ),
        )
    )


def given(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_without_settings_the_local_stack_is_looked_at(tmp_path):
    around = find_surroundings(None)
    assert around.home == Home(tmp_path / "heimdall-home")
    assert around.settings is None
    assert not (tmp_path / "heimdall-home").exists()


def test_a_running_stack_is_looked_at_with_its_own_settings(tmp_path):
    home = Home(tmp_path / "stack")
    running_stack(home)
    around = find_surroundings(home.root)
    assert around.settings is not None
    assert around.settings.database.url.get_secret_value().endswith("@127.0.0.1:3/heimdall")
    assert around.settings.storage.endpoint_url == "http://127.0.0.1:5"
    assert around.settings.tracking.uri == "http://127.0.0.1:6"
    assert (around.api_url, around.api_key) == ("http://127.0.0.1:2", home.api_key())


def test_a_running_stack_with_an_engine_replaced_is_still_a_stack(tmp_path, monkeypatch):
    running_stack(Home(tmp_path / "heimdall-home"))
    given(monkeypatch, {"HEIMDALL_DATABASE__URL": COMPLETE["HEIMDALL_DATABASE__URL"]})
    around = find_surroundings(None)
    assert around.home is not None
    assert around.settings is not None
    assert "@db/" in around.settings.database.url.get_secret_value()


def test_settings_of_a_deployment_come_before_a_stack(tmp_path, monkeypatch):
    running_stack(Home(tmp_path / "heimdall-home"))
    given(monkeypatch, COMPLETE)
    around = find_surroundings(None)
    assert around.home is None
    assert around.settings is not None
    assert around.problems == ()


def test_settings_may_come_from_a_file(tmp_path):
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in COMPLETE.items()))
    assert find_surroundings(None).settings is not None


def test_missing_and_malformed_settings_are_findings_that_name_their_variables(monkeypatch):
    given(monkeypatch, {"HEIMDALL_DATABASE__URL": "x", "HEIMDALL_WORKER__SLOTS": "many-secret"})
    monkeypatch.setenv("HEIMDALL_REDIS__URLS", "x")
    problems = find_surroundings(None).problems
    text = "\n".join(problems)
    assert "HEIMDALL_REDIS__URL is missing" in problems
    assert "HEIMDALL_STORAGE__SECRET_ACCESS_KEY is missing" in problems
    assert "HEIMDALL_REDIS__URLS is not a setting" in problems
    assert "HEIMDALL_WORKER__SLOTS is malformed" in text
    assert "many-secret" not in text


def test_a_machine_that_only_names_a_service_is_its_client(monkeypatch):
    given(monkeypatch, {"HEIMDALL_URL": "http://service", "HEIMDALL_API_KEY": "hmd_x"})
    around = find_surroundings(None)
    assert (around.api_url, around.settings, around.home) == ("http://service", None, None)
    assert {c.subject for c in checks_of(around)} == {"python", "memory", "accelerator", "api"}


def test_a_deployment_has_a_check_for_each_service(monkeypatch):
    given(monkeypatch, COMPLETE)
    subjects = [c.subject for c in checks_of(find_surroundings(None))]
    assert subjects == [
        *("python", "memory", "disk", "disk", "accelerator", "settings"),
        *("postgres", "redis", "s3", "bucket", "bucket", "mlflow", "api"),
    ]


def test_a_process_that_keeps_dying_is_named_with_its_log():
    ill = ProcessState(name="worker", state="restarting", restarts=3, log="/logs/worker.log")
    (found,) = doctor_module.check_processes(Surroundings(title="", state=StackState(processes=(ill,))))
    assert (found.state, found.message) == (State.FAILED, "worker is restarting (3 restarts)")
    assert "/logs/worker.log" in (found.remedy or "")


def test_a_line_for_each_finding_and_one_for_what_to_do(capsys):
    found = [
        fine("redis", "well"),
        doubtful("disk", "[small]", "make room"),
        broken("s3", "away", "start it"),
    ]
    show_findings("the [stack]", found, took_seconds=1.25)
    assert capsys.readouterr().out.splitlines() == [
        "Checking the [stack]",
        "  ok       redis        well",
        "  warning  disk         [small]",
        "                        -> make room",
        "  failed   s3           away",
        "                        -> start it",
        "1 ok, 1 warnings, 1 failed in 1.2 s",
    ]


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ([fine("a", "")], "ok"),
        ([fine("a", ""), doubtful("b", "", "")], "warning"),
        ([broken("c", "", ""), doubtful("b", "", "")], "failed"),
    ],
)
def test_as_json_the_worst_finding_is_the_state(found, state):
    assert document("x", found)["state"] == state


@pytest.mark.parametrize(("finding", "exit_code"), [(doubtful("a", "", ""), 0), (broken("a", "", ""), 1)])
def test_only_a_failure_ends_with_1(monkeypatch, capsys, finding, exit_code):
    monkeypatch.setattr(doctor_module, "checks_of", lambda _: [Check(subject="a", run=lambda: [finding])])
    if exit_code:
        with pytest.raises(typer.Exit) as ended:
            doctor(home=None, as_json=True)
        assert ended.value.exit_code == exit_code
    else:
        doctor(home=None, as_json=True)
    assert json.loads(capsys.readouterr().out)["findings"][0]["state"] == finding.state
