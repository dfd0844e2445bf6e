"""Everything that ``heimdall up`` runs, as one context manager."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from heimdall_core.embedded import services as programs
from heimdall_core.embedded.children import Child, Children
from heimdall_core.embedded.errors import ProcessFailed
from heimdall_core.embedded.home import Home, StackState
from heimdall_core.embedded.identity import MARKER, end_group, end_marked, identify, wait_until
from heimdall_core.embedded.object_store import ObjectStoreEngine
from heimdall_core.embedded.ports import LOOPBACK, choose
from heimdall_core.embedded.postgres import PostgresEngine
from heimdall_core.embedded.program import Engine, ProgramSpec
from heimdall_core.embedded.valkey import ValkeyEngine

#: An engine is left out where this setting already says where another one is.
REPLACED_BY = {
    "postgres": "HEIMDALL_DATABASE__URL",
    "valkey": "HEIMDALL_REDIS__URL",
    "s3": "HEIMDALL_STORAGE__ENDPOINT_URL",
    "mlflow": "HEIMDALL_TRACKING__URI",
}
ENGINES = ("postgres", "valkey", "s3")
PREFERRED_PORTS = {"api": 8080}

#: Each group is asked together, then waited for, before the next.
STOP_ORDER = (("api", "beat", "control", "worker", "mlflow"), ("s3", "valkey"), ("postgres",))

#: Other programs' settings that would lead the children astray.
FOREIGN_PREFIXES = ("PG", "AWS_", "RCLONE_", "MLFLOW_")

LOOK_EVERY_SECONDS = 0.5


def engine_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings in ``environment`` that replace an embedded engine by one that runs elsewhere."""
    groups = tuple(url.rpartition("__")[0] + "__" for url in REPLACED_BY.values() if environment.get(url))
    return {name: value for name, value in environment.items() if name.startswith(groups)}


class EmbeddedStack:
    """The engines, and with ``services`` the whole service; entered it runs, left it is stopped.

    Starts no thread. A child that dies is restarted only while ``supervise`` runs.

    Args:
        home: The state directory; one stack at a time holds it.
        services: Also migrates and starts api, worker, control, beat and MLflow.
        ports: Ports that the user chose, by process.
        replaced: Settings of engines that run elsewhere (``engine_settings``).
        tell: Takes one line for each thing that happens.
    """

    def __init__(
        self,
        home: Path,
        *,
        services: bool,
        ports: Mapping[str, int] | None = None,
        replaced: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._home = Home(home.expanduser().resolve())
        self._services = services
        self._wanted_ports = dict(ports or {})
        self._replaced = dict(replaced or {})
        self._tell = tell
        self._children = Children()
        self._state = StackState()
        self._environment: dict[str, str] = {}
        self._held = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which the service finds the engines; secrets included."""
        return dict(self._environment)

    @property
    def url(self) -> str:
        """The API's address."""
        return f"http://{LOOPBACK}:{self._state.ports['api']}"

    def __enter__(self) -> Self:
        """Starts everything.

        Raises:
            EmbeddedError: in words that say what to do; whatever had been started is stopped again.
        """
        with ExitStack() as undo:
            undo.enter_context(self._home.lock())
            undo.callback(self._stop)
            self._recover()
            self._start()
            self._held = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops everything, in order."""
        self._held.close()

    def supervise(self, should_stop: Callable[[], bool]) -> None:
        """Restarts what dies until ``should_stop``."""
        while not should_stop():
            for child in self._children.members:
                if line := child.revive():
                    self._tell(line)
                if child.is_running:
                    self._ask(child)
            self._write_state(self._state.phase)
            time.sleep(LOOK_EVERY_SECONDS)

    def kill(self) -> None:
        """Ends every child at once, data safe as after a loss of power."""
        self._children.kill()

    def _ask(self, child: Child) -> None:
        if not child.is_ready and child.ask_ready():
            self._tell(_started_line(child))

    def _recover(self) -> None:
        """Ends what a killed ``up`` may have left, and forgets its processes."""
        before = self._home.read_state()
        if killed := end_leftovers(self._home):
            self._tell(f"ended {killed} processes that an earlier run had left")
        self._state = replace(before, processes=(), supervisor=identify(os.getpid()), url=None)

    def _start(self) -> None:
        self._choose_ports()
        self._write_state("starting")
        self._start_engines()
        if self._services:
            self._environment["HEIMDALL_BOOTSTRAP_KEY"] = self._home.api_key()
            self._migrate()
            self._start_services()
            self._state = replace(self._state, url=self.url)
        self._write_state("ready")

    def _names(self) -> list[str]:
        own = [*ENGINES, *(("api", "mlflow") if self._services else ())]
        return [name for name in own if REPLACED_BY.get(name) not in self._replaced]

    def _choose_ports(self) -> None:
        ports: dict[str, int] = {}
        for name in self._names():
            ports[name] = choose(
                name,
                wanted=self._wanted_ports.get(name),
                remembered=self._state.ports.get(name),
                preferred=PREFERRED_PORTS.get(name),
                taken=set(ports.values()),
            )
        self._state = replace(self._state, ports={**self._state.ports, **ports})

    def _engines(self) -> list[Engine]:
        secrets, ports = self._home.secrets(), self._state.ports
        makers: dict[str, Callable[[], Engine]] = {
            "postgres": lambda: PostgresEngine(
                home=self._home, port=ports["postgres"], password=secrets.postgres
            ),
            "valkey": lambda: ValkeyEngine(home=self._home, port=ports["valkey"], password=secrets.valkey),
            "s3": lambda: ObjectStoreEngine(
                home=self._home,
                port=ports["s3"],
                access_key=secrets.s3_access_key,
                secret_key=secrets.s3_secret_key,
            ),
        }
        return [makers[name]() for name in self._names() if name in makers]

    def _start_engines(self) -> None:
        engines = self._engines()
        self._environment = {
            "HEIMDALL_HOME": str(self._home.root),
            "HEIMDALL_CACHE_DIR": str(self._home.folder("cache")),
            **{name: value for engine in engines for name, value in engine.environment.items()},
            **self._replaced,
        }
        started = [self._launch(engine.prepare()) for engine in engines]
        for engine, child in zip(engines, started, strict=True):
            self._await(child)
            engine.initialise()

    def _start_services(self) -> None:
        run = self._home.folder("run")
        if "mlflow" in self._state.ports and "mlflow" in self._names():
            self._environment["HEIMDALL_TRACKING__URI"] = f"http://{LOOPBACK}:{self._state.ports['mlflow']}"
        self._await(self._launch(programs.api(port=self._state.ports["api"], run=run)))
        for make in (programs.worker, programs.control, programs.beat):
            self._await(self._launch(make(run=run)))
        if (mlflow := self._mlflow(run)) is not None:
            self._launch(mlflow)

    def _mlflow(self, run: Path) -> ProgramSpec | None:
        """MLflow keeps its tables beside ours; without the embedded database it is not started."""
        if not {"mlflow", "postgres"} <= set(self._names()):
            return None
        postgres = next(e for e in self._engines() if isinstance(e, PostgresEngine))
        return programs.mlflow(
            port=self._state.ports["mlflow"],
            run=run,
            database_url=postgres.url("mlflow"),
            storage=self._environment,
        )

    def _migrate(self) -> None:
        log = self._home.log("migrate")
        with log.open("ab") as output:
            done = subprocess.run(  # noqa: S603 - our own command line
                programs.migrate_command(),
                env={**self._child_environment(), **self._environment},
                cwd=self._home.folder("run"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            lines = log.read_text(errors="replace").splitlines()[-8:]
            raise ProcessFailed("the migration failed:\n    " + "\n    ".join(lines), hint=f"see {log}")
        self._tell("database migrated")

    def _child_environment(self) -> dict[str, str]:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(FOREIGN_PREFIXES)}
        direct = ",".join(filter(None, (inherited.get("NO_PROXY"), LOOPBACK, "localhost")))
        return {
            **inherited,
            "NO_PROXY": direct,
            "no_proxy": direct,
            "PYTHONUNBUFFERED": "1",
            MARKER: self._home.secrets().marker,
        }

    def _launch(self, spec: ProgramSpec) -> Child:
        child = Child(
            spec=spec,
            environment={**self._child_environment(), **self._environment},
            log=self._home.log(spec.name),
        )
        self._children.members.append(child)
        child.start()
        self._write_state(self._state.phase)
        return child

    def _await(self, child: Child) -> None:
        child.wait_ready()
        self._write_state(self._state.phase)
        self._tell(_started_line(child))

    def _write_state(self, phase: str) -> None:
        state = replace(self._state, phase=phase, processes=self._children.states())
        if state != self._state:
            self._state = state
            self._home.write_state(state)

    def _stop(self) -> None:
        with suppress(OSError):  # a full disk keeps nothing running
            self._write_state("stopping")
        for names in STOP_ORDER:
            self._children.stop(names)
        end_marked(self._home.secrets().marker)
        self._children = Children()
        self._state = replace(self._state, supervisor=None)
        with suppress(OSError):
            self._write_state("stopped")


def end_leftovers(home: Home, *, grace_seconds: float = 10.0) -> int:
    """Ends what a killed ``up`` has left; returns how many processes had to be killed.

    Its children follow it by themselves within moments, so they are given some.
    """
    recorded = [p.identity for p in home.read_state().processes if p.identity]
    wait_until(lambda: not any(i.is_alive() for i in recorded), seconds=grace_seconds)
    survivors = [i for i in recorded if i.is_alive()]
    for survivor in survivors:
        end_group(survivor.pid, signal.SIGKILL)
    wait_until(lambda: not any(i.is_alive() for i in survivors), seconds=5)
    return len(survivors) + end_marked(home.secrets().marker)


def _started_line(child: Child) -> str:
    word = "started" if child.spec.is_ready is None else "ready"
    return " ".join(filter(None, (f"{child.spec.name:<9}{word:<8}", child.spec.url or "")))
