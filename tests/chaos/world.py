"""The system under test: the embedded engines, a proxy for each service and engine, and the services."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from heimdall_core.database.engine import Database
from heimdall_core.embedded.children import Child
from heimdall_core.embedded.identity import MARKER, end_group, marked, wait_until
from heimdall_core.embedded.ports import choose
from heimdall_core.embedded.program import ProgramSpec, http_status
from heimdall_core.embedded.stack import EmbeddedStack
from heimdall_core.settings import Settings
from heimdall_core.storage import S3Store
from tests.chaos import trace
from tests.chaos.chaotic_worker import UNFENCED
from tests.chaos.proxy import Proxy, ProxyHost

LEASE_SECONDS = 6.0
QUICK = {
    "HEIMDALL_LEASE__LEASE_SECONDS": str(LEASE_SECONDS),
    "HEIMDALL_LEASE__HEARTBEAT_SECONDS": "0.5",
    "HEIMDALL_LEASE__STOP_AFTER_SECONDS": "3.5",
    "HEIMDALL_LEASE__KILL_AFTER_SECONDS": "5",
    "HEIMDALL_LEASE__FLAG_POLL_SECONDS": "0.1",
    "HEIMDALL_LEASE__STOP_GRACE_SECONDS": "1.5",
    "HEIMDALL_WORKER__SLOTS": "2",
    "HEIMDALL_WORKER__LIGHT_SLOTS": "1",
    "HEIMDALL_WORKER__IDLE_POLL_SECONDS": "1",
    "HEIMDALL_WORKER__CHECKPOINT_SECONDS": "0.3",
    "HEIMDALL_WORKER__TORCH_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}
WORKERS = ("worker-a", "worker-b")
CONTROLS = ("control-a", "control-b")
SERVICES = (*WORKERS, *CONTROLS, "beat", "api")
ENGINES = {
    "postgres": "HEIMDALL_DATABASE__URL",
    "valkey": "HEIMDALL_REDIS__URL",
    "s3": "HEIMDALL_STORAGE__ENDPOINT_URL",
}
API_KEY = "hmd_" + "c" * 40


@dataclass(slots=True)
class Service:
    """A process that is started again when it has died, after ``pause_seconds``."""

    child: Child
    pause_seconds: float = 0.3
    ended_at: float | None = None
    held: bool = False

    @property
    def pid(self) -> int:
        process = self.child._process
        assert process is not None
        return process.pid

    def look(self) -> None:
        """Restarts it if it is time to."""
        if self.child.is_running or self.held:
            return
        now = time.monotonic()
        if self.ended_at is None:
            self.ended_at = now
            trace.record("service_ended", name=self.child.spec.name, code=self.child.exit_code)
        elif now - self.ended_at >= self.pause_seconds:
            self.child.start()
            self.ended_at = None
            trace.record("service_started", name=self.child.spec.name, new_pid=self.pid)


@dataclass(slots=True)
class World:
    """Everything that runs, and how to reach it undisturbed.

    Args:
        folder: of the run; trace, logs and state go there.
        is_fenced: False takes the fence out of the workers.
        settings: more settings of the services.
    """

    folder: Path
    is_fenced: bool = True
    settings: dict[str, str] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    engines: dict[str, Service] = field(default_factory=dict)
    #: By service and engine.
    proxies: dict[tuple[str, str], Proxy] = field(default_factory=dict)
    api_port: int = 0
    _stack: EmbeddedStack | None = None
    _hosts: ProxyHost | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        (self.folder / "armed").mkdir(parents=True)
        os.environ[trace.FOLDER] = str(self.folder)
        self._stack = EmbeddedStack(self.folder / "engines", services=False)
        self._stack.__enter__()
        self.engines = {child.spec.name: Service(child) for child in self._stack._children.members}
        self._hosts = ProxyHost()
        for name, value in self._stack.environment.items():
            os.environ[name] = value
        self._migrate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop_services()
        assert self._stack is not None
        assert self._hosts is not None
        for engine in self.engines.values():
            engine.held = True
        self._stack.__exit__(kind, error, tb)
        self._stop.set()
        if self._watcher:
            self._watcher.join()
        self._hosts.close()

    def start_services(self, names: tuple[str, ...] = SERVICES) -> None:
        """Starts them and the thread that keeps everything alive.

        What a thread has started ends with that thread, so it is always the same one.
        """
        for name in names:
            self.services[name] = Service(self._child(name))
            self.services[name].child.start()
        self._watcher = threading.Thread(target=self._watch, name="services", daemon=True)
        self._watcher.start()

    def stop_services(self) -> None:
        """Asks all to stop, in the order of ``heimdall up``."""
        for service in self.services.values():
            service.held = True
        for service in self.services.values():
            service.child.ask_to_stop()
        for service in self.services.values():
            service.child.wait_stopped()

    def survivors(self) -> list[int]:
        """Processes of the services, trainers included, that still run."""
        return [process.pid for process in marked(self.marker)]

    @property
    def marker(self) -> str:
        return f"chaos-{self.folder}"

    def database(self) -> Database:
        """The harness's own way to PostgreSQL."""
        return Database(self.core_settings().database, application_name="chaos")

    def store(self) -> S3Store:
        """The harness's own way to S3."""
        return S3Store(self.core_settings().storage)

    def core_settings(self) -> Settings:
        """Of the engines themselves, without proxies."""
        return Settings(_env_file=None)

    def restart_engine(self, name: str, *, down_seconds: float) -> None:
        """Kills it at once; the thread that keeps everything alive starts it again."""
        engine = self.engines[name]
        engine.pause_seconds = down_seconds
        old = engine.pid
        end_group(old, signal.SIGKILL)
        wait_until(lambda: engine.pid != old and engine.child.ask_ready(), seconds=60)

    def fork_server(self, worker: str) -> int | None:
        """The pid of a worker's fork server."""
        return next((p for p in children_of(self.services[worker].pid) if "fork_server" in command(p)), None)

    def trainers(self, worker: str) -> list[int]:
        """The pids of a worker's trainers."""
        server = self.fork_server(worker)
        return list(children_of(server)) if server else []

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for service in (*self.services.values(), *self.engines.values()):
                service.look()

    def _migrate(self) -> None:
        from heimdall_core.accounts.keys import ensure_key
        from heimdall_core.database.migrate import upgrade

        database = self.database()
        upgrade(database.engine)
        with database.transaction() as session:
            ensure_key(session, API_KEY, owner="chaos", name="chaos")
        database.dispose()

    def _child(self, name: str) -> Child:
        home = self.folder / name
        home.mkdir()
        if name == "api":
            self.api_port = choose("api", wanted=None, remembered=None, preferred=None, taken=set())
        return Child(
            spec=self._program(name, home), environment=self._environment(name, home), log=home / "log"
        )

    def _environment(self, name: str, home: Path) -> dict[str, str]:
        assert self._stack is not None
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("HEIMDALL_", "PG", "AWS_"))}
        return {
            **inherited,
            **self._stack.environment,
            **{variable: self._through_proxy(name, engine, variable) for engine, variable in ENGINES.items()},
            **QUICK,
            **self.settings,
            "PYTHONPATH": str(Path.cwd()),
            "PYTHONUNBUFFERED": "1",
            "HEIMDALL_HOME": str(home),
            "HEIMDALL_CACHE_DIR": str(self.folder / "cache"),
            "HEIMDALL_WORKER_NAME": name,
            trace.FOLDER: str(self.folder),
            MARKER: self.marker,
            **({} if self.is_fenced else {UNFENCED: "1"}),
        }

    def _through_proxy(self, service: str, engine: str, variable: str) -> str:
        assert self._stack is not None
        assert self._hosts is not None
        url = self._stack.environment[variable]
        port = urlsplit(url).port
        assert port is not None
        proxy = self._hosts.open(f"{service}-{engine}", port)
        self.proxies[service, engine] = proxy
        return url.replace(f":{port}", f":{proxy.port}")

    def _program(self, name: str, home: Path) -> ProgramSpec:
        python = (sys.executable, "-m")
        celery = (*python, "tests.chaos.chaotic_worker", "-A", "worker.celery_app")
        if name == "api":
            port = ("--host", "127.0.0.1", "--port", str(self.api_port))
            argv: tuple[str, ...] = (*python, "uvicorn", "--factory", "api.main:create", *port)
        elif name == "beat":
            argv = (*celery, "beat", "-s", str(home / "schedule"))
        else:
            queue = ("-Q", "jobs" if name in WORKERS else "control", "-P", "threads", "-c", "2")
            quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{name}@%h")
            argv = (*celery, "worker", *queue, *quiet)
        return ProgramSpec(name=name, argv=argv, cwd=Path.cwd(), stop_seconds=30)

    def api_answers(self) -> bool:
        """Whether the API takes requests."""
        return http_status(self.api_port, "/livez") is not None


def children_of(pid: int) -> Iterator[int]:
    """Its living children."""
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, entry.read_text().split())
        except OSError:
            continue


def command(pid: int) -> str:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def send(pid: int, number: signal.Signals) -> bool:
    """Signals a process; False if it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
