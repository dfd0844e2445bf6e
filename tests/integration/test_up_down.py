"""``heimdall up``, ``status`` and ``down`` as a person uses them, with the whole service."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from heimdall_core.embedded.home import Home
from heimdall_core.embedded.identity import ProcessIdentity, identify, marked, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START_SECONDS = 240
SERVICES = {"postgres", "valkey", "s3", "api", "worker", "control", "beat", "mlflow"}


def heimdall(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "heimdall_core.cli.main", *arguments, "--home", str(home.root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


def everything(home: Home) -> list[ProcessIdentity]:
    """The supervisor, its children and all that these have started."""
    state = home.read_state()
    recorded = [p.identity for p in state.processes if p.identity]
    supervisor = [state.supervisor] if state.supervisor else []
    return [*supervisor, *recorded, *marked(home.secrets().marker)]


def is_gone(home: Home) -> bool:
    return not any(process.is_alive() for process in everything(home))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    place = Home(tmp_path / "home")
    yield place
    for process in everything(place):
        process.send(signal.SIGKILL)
    assert wait_until(lambda: is_gone(place), seconds=30)


def status_of(home: Home) -> dict:
    return json.loads(heimdall(home, "status", "--json").stdout)


def ask(home: Home, path: str) -> httpx.Response:
    url = home.read_state().url
    headers = {"Authorization": f"Bearer {home.api_key()}"}
    return httpx.get(f"{url}{path}", headers=headers, trust_env=False, timeout=30)


@pytest.mark.timeout(900)
def test_the_service_runs_detached_survives_kill_9_of_everything_and_stops_without_a_trace(
    home: Home,
) -> None:
    started = heimdall(home, "up", "--detach")
    assert started.returncode == 0, started.stderr
    status = status_of(home)
    assert {process["name"] for process in status["processes"]} == SERVICES
    assert ask(home, "/readyz").status_code == 200
    assert ask(home, "/v1/jobs").status_code == 200
    assert httpx.get(f"{status['url']}/v1/jobs", trust_env=False).status_code == 401

    again = heimdall(home, "up")
    assert again.returncode == 1
    assert f"already running at {status['url']}" in again.stderr

    receiver = {"name": "kept", "latitude": 45.0, "longitude": 8.0, "altitude_m": 100.0}
    key = {"Authorization": f"Bearer {home.api_key()}"}
    made = httpx.post(f"{status['url']}/v1/receivers", json=receiver, headers=key, trust_env=False)
    assert made.status_code == 201, made.text
    for process in everything(home):
        os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: is_gone(home), seconds=30)
    assert heimdall(home, "status").returncode == 1

    recovered = heimdall(home, "up", "--detach")
    assert recovered.returncode == 0, recovered.stderr
    assert "kept" in [known["name"] for known in ask(home, "/v1/receivers").json()["data"]]
    assert status_of(home)["url"] == status["url"], "ports are remembered"

    running = everything(home)
    stopped = heimdall(home, "down")
    assert stopped.returncode == 0, stopped.stderr
    assert not any(process.is_alive() for process in running)
    assert is_gone(home)
    assert heimdall(home, "down").returncode == 0


@pytest.mark.timeout(600)
def test_ctrl_c_in_the_terminal_stops_everything_in_order(home: Home) -> None:
    log = home.folder("logs") / "terminal.log"
    with log.open("w") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "heimdall_core.cli.main", "up", "--home", str(home.root)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert wait_until(lambda: home.read_state().phase == "ready", seconds=START_SECONDS), log.read_text()
    running = everything(home)
    assert identify(up.pid) in running
    os.killpg(up.pid, signal.SIGINT)  # what the terminal sends: to the foreground group alone
    assert up.wait(timeout=120) == 0
    assert not any(process.is_alive() for process in running)
    assert "Ctrl-C stops it" in log.read_text()
    assert "database system is shut down" in (home.root / "logs" / "postgres.log").read_text()


def test_a_taken_port_is_told_in_one_line_naming_the_option(home: Home) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        for arguments in (("up",), ("up", "--detach")):
            refused = heimdall(home, *arguments, "--port", str(port))
            assert refused.returncode == 1
            assert f"port {port} for api is in use" in refused.stderr.splitlines()[0]
            assert "--port" in refused.stderr
    assert is_gone(home)


@pytest.mark.timeout(300)
def test_an_interrupt_while_starting_leaves_nothing_behind(home: Home) -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "heimdall_core.cli.main", "up", "--home", str(home.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: bool(home.read_state().processes), seconds=60)
    running = everything(home)
    up.terminate()
    assert up.wait(timeout=60) == 130
    assert wait_until(lambda: not any(process.is_alive() for process in running), seconds=10)
