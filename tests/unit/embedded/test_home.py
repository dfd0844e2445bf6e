import os
import re
from pathlib import Path

import pytest

from heimdall_core.embedded.errors import AlreadyRunning, EmbeddedError
from heimdall_core.embedded.home import Home, ProcessState, StackState, default_home, write_private
from heimdall_core.embedded.identity import identify


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def running_state() -> StackState:
    here = identify(os.getpid())
    return StackState(
        phase="ready",
        supervisor=here,
        url="http://127.0.0.1:8080",
        ports={"api": 8080},
        processes=(ProcessState(name="api", state="ready", identity=here, port=8080),),
    )


def test_a_home_that_cannot_be_made_is_told_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot write the state directory") as caught:
        Home(tmp_path / "file" / "home").folder("run")
    assert "HEIMDALL_HOME" in caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", '{"phase": "ready"}', '{"processes": [{"name": "x"}]}'])
def test_a_broken_state_file_reads_as_nothing_running(home, content):
    home.folder("run")
    home.state_file.write_text(content)
    assert home.read_state() == StackState()


def test_state_is_read_back_as_written(home):
    home.folder("run")
    home.write_state(running_state())
    assert home.read_state() == running_state()
    assert home.read_state().is_running


def test_the_state_of_a_dead_supervisor_is_not_running(home):
    state = running_state()
    assert state.supervisor is not None
    dead = StackState(supervisor=type(state.supervisor)(pid=os.getpid(), started="another boot:1"))
    assert not dead.is_running


def test_secrets_and_key_are_made_once_and_private(home):
    first, key = home.secrets(), home.api_key()
    assert (home.secrets(), home.api_key()) == (first, key)
    assert re.fullmatch(r"hmd_[A-Za-z0-9_-]{43}", key)
    for name in ("secrets.json", "api-key"):
        assert (home.root / name).stat().st_mode & 0o777 == 0o600


def test_secrets_hold_nothing_that_a_url_or_configuration_would_have_to_quote(home):
    secrets = home.secrets()
    for value in (secrets.postgres, secrets.valkey, secrets.s3_access_key, secrets.s3_secret_key):
        assert re.fullmatch(r"[A-Za-z0-9_-]{16,}", value)


def test_a_held_home_is_refused_saying_where_it_runs(home):
    with home.lock():
        home.write_state(running_state())
        with (
            pytest.raises(AlreadyRunning, match=rf"http://127.0.0.1:8080 \(pid {os.getpid()}\)"),
            home.lock(),
        ):
            pytest.fail("entered twice")
    with home.lock():
        pass


def test_a_private_file_replaces_a_public_one_as_a_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("a long public text")
    write_private(path, "short")
    assert path.read_text() == "short"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_environment_names_the_default_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HEIMDALL_HOME", str(tmp_path))
    assert default_home() == tmp_path.resolve()
    monkeypatch.delenv("HEIMDALL_HOME")
    assert default_home() == (Path.home() / ".heimdall").resolve()
