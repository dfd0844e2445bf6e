"""The state directory of ``heimdall up``: what lies where, its secrets, and who holds it."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from heimdall_core.embedded.errors import AlreadyRunning, EmbeddedError
from heimdall_core.embedded.identity import ProcessIdentity

#: Root's own state directory may be entered by everyone, because PostgreSQL must run as another user;
#: every secret in it is a file for its owner alone.
_HOME_MODE = 0o711 if os.geteuid() == 0 else 0o700


def default_home() -> Path:
    """``$HEIMDALL_HOME``, else ``~/.heimdall``."""
    return Path(os.environ.get("HEIMDALL_HOME") or Path.home() / ".heimdall").expanduser().resolve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Passwords of the engines, made once per state directory."""

    postgres: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    valkey: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    s3_access_key: str = field(default_factory=lambda: f"HMD{secrets.token_hex(8).upper()}")
    s3_secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30))
    marker: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """One line of ``heimdall status``."""

    name: str
    state: str
    """starting, ready, running (readiness is not asked), restarting or stopped."""
    identity: ProcessIdentity | None = None
    port: int | None = None
    url: str | None = None
    restarts: int = 0
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """What ``up`` writes down for other commands to read."""

    phase: str = "stopped"
    """starting, ready, stopping or stopped."""
    supervisor: ProcessIdentity | None = None
    url: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    processes: tuple[ProcessState, ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether the ``up`` that wrote this is alive."""
        return self.supervisor is not None and self.supervisor.is_alive()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Reads the JSON form."""
        processes = tuple(
            ProcessState(**{**p, "identity": _identity(p["identity"])}) for p in data["processes"]
        )
        return cls(**{**data, "supervisor": _identity(data["supervisor"]), "processes": processes})


def _identity(data: Mapping[str, Any] | None) -> ProcessIdentity | None:
    return None if data is None else ProcessIdentity(**data)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths in the state directory."""

    root: Path

    def folder(self, name: str, mode: int = 0o700) -> Path:
        """A folder of the state directory, made if absent.

        Raises:
            EmbeddedError: the state directory cannot be made or written.
        """
        path = self.root / name
        try:
            self.root.mkdir(mode=_HOME_MODE, parents=True, exist_ok=True)
            path.mkdir(mode=mode, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(
                f"cannot write the state directory {self.root}: {error.strerror}",
                hint="name another with --home or HEIMDALL_HOME",
            ) from error
        return path

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.folder("logs") / f"{name}.log"

    @property
    def state_file(self) -> Path:
        """Ports and processes, as JSON."""
        return self.root / "state.json"

    @property
    def api_key_file(self) -> Path:
        """The local administrator's API key."""
        return self.root / "api-key"

    def read_state(self) -> StackState:
        """What the last ``up`` wrote; an empty state where none ran, or its file is not readable."""
        try:
            return StackState.from_dict(json.loads(self.state_file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return StackState()

    def write_state(self, state: StackState) -> None:
        """Replaces the state file as a whole."""
        write_private(self.state_file, json.dumps(asdict(state), indent=1))

    def secrets(self) -> Secrets:
        """The engines' passwords, made at the first call."""
        path = self.root / "secrets.json"
        if not path.exists():
            self.folder("run")
            write_private(path, json.dumps(asdict(Secrets())))
        return Secrets(**json.loads(path.read_text()))

    def api_key(self) -> str:
        """The local administrator's API key, made at the first call."""
        if not self.api_key_file.exists():
            self.folder("run")
            write_private(self.api_key_file, f"hmd_{secrets.token_urlsafe(32)}\n")
        return self.api_key_file.read_text().strip()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the state directory; the kernel frees it when the process ends, however it ends.

        Raises:
            AlreadyRunning: another process holds it.
        """
        self.folder("run")
        with (self.root / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._already_running() from error
            yield

    def _already_running(self) -> AlreadyRunning:
        state = self.read_state()
        where = f" at {state.url}" if state.url else ""
        who = f" (pid {state.supervisor.pid})" if state.supervisor else ""
        return AlreadyRunning(
            f"Heimdall is already running{where}{who} in {self.root}",
            hint="`heimdall status` shows it, `heimdall down` stops it, --home starts another one",
        )


def write_private(path: Path, text: str) -> None:
    """Writes a file for its owner alone, as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)
