"""What a supervised child is: its command line, surroundings, and how one knows that it works."""

import http.client
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from heimdall_core.embedded.ports import LOOPBACK

LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """One child of ``heimdall up``."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the stack's own environment."""
    port: int | None = None
    url: str | None = None
    """What a person may open or connect to; never with a password."""
    user: str | None = None
    """Root starts it as this user; None: as whoever runs ``up``."""
    is_ready: Callable[[], bool] | None = None
    """None: it counts as running as soon as it is started."""
    ready_seconds: float = 60.0
    is_awaited: bool = True
    """Whether ``up`` waits for its readiness; otherwise the service works without it."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    """Then its process group is killed."""


def launch_command(
    argv: Sequence[str | Path], *, user: str | None, cwd: Path, death_signal: signal.Signals
) -> list[str]:
    """The command line that runs ``argv`` as a child of this process, through the launcher."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    return [*launcher, str(os.getpid()), str(int(death_signal)), user or "-", str(cwd), *map(str, argv)]


class Engine(Protocol):
    """An engine of the stack: a program with data of its own."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings by which the services find it."""
        ...

    def prepare(self) -> ProgramSpec:
        """Makes its data folder at the first start, and says how to start it."""
        ...

    def initialise(self) -> None:
        """Makes what must exist in the running engine; harmless when repeated."""
        ...


def http_status(port: int, path: str = "/") -> int | None:
    """The status that a local HTTP server answers, or None."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def exchange(port: int, request: bytes, *, enough: bytes) -> bool:
    """Whether a local server answers ``request`` with something that contains ``enough``."""
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
            connection.sendall(request)
            while enough not in answer and (part := connection.recv(4096)):
                answer += part
                if b"-" in answer[:1] or b"\n-" in answer:  # an error reply
                    return False
    except OSError:
        return False
    return enough in answer
