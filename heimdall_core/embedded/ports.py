"""Ports on the loopback interface: which are free, and which to take."""

import contextlib
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from heimdall_core.embedded.errors import EmbeddedError, PortTaken

LOOPBACK = "127.0.0.1"
#: The state of a listening socket in /proc/net/tcp.
_LISTEN = "0A"

#: Below the range from which Linux and macOS take the ports of outgoing connections,
#: so that a remembered port is still free after a restart.
CHOICE = range(15_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now; a closed connection's TIME_WAIT does not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(
    name: str,
    *,
    wanted: int | None,
    remembered: int | None,
    preferred: int | None,
    taken: set[int],
    probe: Callable[[int], bool] = is_free,
) -> int:
    """The port of one process: the wanted one, else the remembered, else the preferred, else a free one.

    Args:
        name: The process; its option is ``--<name>-port``, and ``--port`` for the api.
        wanted: What the user asked for; never replaced by another.
        remembered: What it was the last time.
        preferred: What it should be at the first start.
        taken: Ports that this stack has already given away.
        probe: Tells whether a port is free.

    Raises:
        PortTaken: ``wanted`` is in use.
    """
    if wanted is not None:
        if wanted in taken or not probe(wanted):
            option = "--port" if name == "api" else f"--{name}-port"
            raise PortTaken(
                f"port {wanted} for {name} is in use by another program",
                hint=f"choose another with {option}, or leave the option out to get a free one",
            )
        return wanted
    for port in _candidates(remembered, preferred):
        if port not in taken and probe(port):
            return port
    raise EmbeddedError(f"no free port found for {name}")


def _candidates(*first: int | None) -> Iterator[int]:
    yield from (port for port in first if port is not None)
    yield from random.sample(CHOICE, 200)


def listens_in_group(group: int, port: int) -> bool:
    """Whether a process of this group listens on the port; True where the system does not tell (not Linux).

    A stranger on the same port would answer a readiness probe just as well.
    """
    sockets = _listening_inodes(port)
    return sockets is None or any(_holds(pid, sockets) for pid in _members(group))


def _listening_inodes(port: int) -> set[str] | None:
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return None
    rows = [line.split() for line in lines]
    suffix = f":{port:04X}"
    return {row[9] for row in rows if row[1].endswith(suffix) and row[3] == _LISTEN}


def _members(group: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group:
                yield pid


def _holds(pid: int, inodes: set[str]) -> bool:
    """Whether the process has one of the sockets open; one that may not be looked into gets the benefit."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(_target(link) in wanted for link in Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return True
    except OSError:
        return False


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return None
