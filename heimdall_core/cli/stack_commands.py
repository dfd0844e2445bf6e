"""``heimdall up``, ``down``, ``status``, ``migrate``."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from heimdall_core.cli.output import console, say, show_json, show_rows
from heimdall_core.embedded.errors import EmbeddedError, ProcessFailed
from heimdall_core.embedded.home import Home, StackState, default_home
from heimdall_core.embedded.identity import wait_until
from heimdall_core.embedded.stack import EmbeddedStack, end_leftovers, engine_settings

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="State directory.", show_default="$HEIMDALL_HOME or ~/.heimdall"),
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, show_default="remembered or free")]

START_SECONDS = 300.0
STOP_SECONDS = 150.0
NOT_RUNNING = 1
STDERR = 2
"""Its file descriptor."""


def home_of(option: Path | None) -> Home:
    """The state directory that the user means."""
    return Home(option.expanduser().resolve() if option else default_home())


def up(
    home: HomeOption = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API.", show_default="remembered, 8080 or free"),
    ] = None,
    postgres_port: Port = None,
    valkey_port: Port = None,
    s3_port: Port = None,
    mlflow_port: Port = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as it is ready.")] = False,
) -> None:
    """Starts the whole service on this machine: engines, API, workers, MLflow."""
    chosen = {
        "api": port,
        "postgres": postgres_port,
        "valkey": valkey_port,
        "s3": s3_port,
        "mlflow": mlflow_port,
    }
    ports = {name: value for name, value in chosen.items() if value is not None}
    if detach:
        start_detached(home_of(home), ports)
    else:
        _run(home_of(home), ports)


def _run(home: Home, ports: dict[str, int]) -> None:
    """Starts, supervises until a signal, stops."""
    stop = _StopRequest()
    stack = EmbeddedStack(
        home.root, services=True, ports=ports, replaced=engine_settings(os.environ), tell=_tell
    )
    try:
        with stack:
            say(f"\nHeimdall runs at [bold]{stack.url}[/] (docs: {stack.url}/docs). Ctrl-C stops it.")
            stop.becomes_a_flag()
            stack.supervise(lambda: stop.requested)
            stop.kills(stack.kill)
            say("stopping ...")
    except KeyboardInterrupt:
        say("stopped before it was ready")
        raise typer.Exit(130) from None
    say("stopped; the data stay in " + str(home.root))


def _tell(line: str) -> None:
    console.print(line, markup=False)


class _StopRequest:
    """What SIGINT, SIGTERM and SIGHUP mean: while starting, an interrupt; then a flag; then impatience."""

    def __init__(self) -> None:
        self.requested = False
        self._react(self._interrupt)

    def becomes_a_flag(self) -> None:
        """From now on a signal ends the supervision in order."""
        self._react(self._note)

    def kills(self, kill: Callable[[], None]) -> None:
        """From now on a signal ends everything at once."""
        self._react(lambda *_: kill())

    @staticmethod
    def _react(handler: Callable[[int, FrameType | None], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, handler)

    @staticmethod
    def _interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def start_detached(home: Home, ports: dict[str, int]) -> str:
    """Starts ``heimdall up`` in a session of its own and waits until it is ready; returns its URL.

    Raises:
        ProcessFailed: it ended before that, with what it said.
    """
    options = [o for name, port in ports.items() for o in (_port_option(name), str(port))]
    command = [sys.executable, "-m", "heimdall_core.cli.main", "up", "--home", str(home.root), *options]
    log = home.log("up")
    with log.open("w") as output:
        started = subprocess.Popen(  # noqa: S603 - our own command line
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def settled() -> bool:
        return started.poll() is not None or _is_ready(home, started.pid)

    with console.status("starting Heimdall"):
        wait_until(settled, seconds=START_SECONDS, every=0.1)
    state = home.read_state()
    if started.poll() is not None or not _is_ready(home, started.pid) or state.url is None:
        started.terminate()
        raise ProcessFailed(log.read_text().strip().removeprefix("error: "), hint=f"see {log}")
    for line in log.read_text().splitlines():
        if " ready " in line or " started " in line or "ended" in line:
            _tell(line)
    say(f"Heimdall runs at [bold]{state.url}[/] (docs: {state.url}/docs). `{stop_command(home)}` stops it.")
    return state.url


def stop_command(home: Home) -> str:
    """What stops the stack of a state directory, whatever the reader's environment says."""
    option = "" if home.root == Path.home() / ".heimdall" else f" --home {home.root}"
    return f"heimdall down{option}"


def _port_option(name: str) -> str:
    return "--port" if name == "api" else f"--{name}-port"


def _is_ready(home: Home, pid: int) -> bool:
    state = home.read_state()
    return state.phase == "ready" and state.supervisor is not None and state.supervisor.pid == pid


def down(home: HomeOption = None) -> None:
    """Stops the service of this machine; its data stay."""
    place = home_of(home)
    state = place.read_state()
    if state.supervisor is None or not state.is_running:
        ended = end_leftovers(place) if place.root.exists() else 0
        say(
            f"Heimdall does not run in {place.root}"
            + (f"; ended {ended} left-over processes" if ended else "")
        )
        return
    supervisor = state.supervisor
    supervisor.send(signal.SIGTERM)
    with console.status("stopping Heimdall"):
        gone = wait_until(lambda: not supervisor.is_alive(), seconds=STOP_SECONDS, every=0.1)
    if not gone:
        raise EmbeddedError(
            f"Heimdall (pid {supervisor.pid}) still runs after {STOP_SECONDS:.0f} s",
            hint=f"kill -9 {supervisor.pid} ends it; the next `heimdall up` recovers",
        )
    end_leftovers(place)
    say(f"stopped; the data stay in {place.root}")


def status(
    home: HomeOption = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Shows each process of the local service; exit status 1 if it does not run."""
    place = home_of(home)
    state = place.read_state()
    if as_json:
        show_json(_summary(place, state))
    elif state.is_running:
        say(f"Heimdall is {state.phase} in {place.root}")
        show_rows(
            ("process", "state", "pid", "port", "restarts", "url"),
            (
                (p.name, p.state, p.identity and p.identity.pid, p.port, p.restarts, p.url)
                for p in state.processes
            ),
            empty="no process yet",
        )
    else:
        say(f"Heimdall does not run in {place.root}")
    if not state.is_running:
        raise typer.Exit(NOT_RUNNING)


def _summary(place: Home, state: StackState) -> dict[str, object]:
    running = state.is_running
    return {
        "home": str(place.root),
        "running": running,
        "phase": state.phase if running else "stopped",
        "url": state.url if running else None,
        "supervisor_pid": state.supervisor.pid if running and state.supervisor else None,
        "processes": [
            {
                "name": p.name,
                "state": p.state,
                "pid": p.identity.pid if p.identity else None,
                "port": p.port,
                "url": p.url,
                "restarts": p.restarts,
                "log": p.log,
            }
            for p in (state.processes if running else ())
        ],
    }


def migrate(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Brings the database that HEIMDALL_DATABASE__URL names to the newest schema."""
    from heimdall_core.cli.settings_problems import read_settings

    read_settings()  # here its mistakes are told in words
    told = STDERR if as_json else None
    done = subprocess.run([sys.executable, "-m", "heimdall_core.migrate"], stdout=told, check=False)
    if done.returncode:
        raise ProcessFailed(
            "the migration failed", hint="it reads HEIMDALL_* settings; `heimdall up` migrates by itself"
        )
    if as_json:
        from alembic.script import ScriptDirectory

        from heimdall_core.database.migrate import alembic_config

        show_json({"revision": ScriptDirectory.from_config(alembic_config()).get_current_head()})
