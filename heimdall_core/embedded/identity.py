"""Processes told apart for good: a pid together with the moment its process began."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

#: Every child of a stack carries it in its environment, and hands it on to its own children.
MARKER = "HEIMDALL_STACK_MARKER"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started: str
    """Opaque: boot id and clock ticks on Linux, the date that ``ps`` prints elsewhere."""

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return start_of(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Sends a signal unless the process has ended."""
        if self.is_alive():
            _send(os.kill, self.pid, number)


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, or None."""
    started = start_of(pid)
    return None if started is None else ProcessIdentity(pid=pid, started=started)


def start_of(pid: int) -> str | None:
    """When the process began, or None if it has ended."""
    if not PROC.joinpath("self").exists():
        return _start_from_ps(pid)
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name, in parentheses, may hold spaces
    return None if fields[0] in {"Z", "X"} else f"{_boot_id()}:{fields[19]}"


def _boot_id() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _start_from_ps(pid: int) -> str | None:
    shown = subprocess.run(  # noqa: S603 - a number is the only argument
        ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607 - wherever the platform keeps it
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip() or None


def marked(marker: str) -> Iterator[ProcessIdentity]:
    """Every running process that was started with this marker (Linux; elsewhere none is found)."""
    wanted = f"{MARKER}={marker}".encode()
    for folder in PROC.glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and (found := identify(int(folder.name))):
            yield found


def any_process_in(folder: Path) -> bool:
    """Whether a process works in this folder (Linux; elsewhere none is found)."""
    for entry in PROC.glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder:
                return True
        except OSError:
            continue
    return False


def end_group(pid: int, number: signal.Signals) -> None:
    """Signals the process group that ``pid`` leads, if any member is left."""
    _send(os.killpg, pid, number)


def _send(call: Callable[[int, int], None], target: int, number: signal.Signals) -> None:
    try:
        call(target, number)
    except (ProcessLookupError, PermissionError):
        return


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Polls until the condition holds; False when the time is over first."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True


def end_marked(marker: str, *, grace_seconds: float = 5.0) -> int:
    """Ends whatever a dead stack left behind; returns how many processes had to be killed."""
    if wait_until(lambda: not any(marked(marker)), seconds=grace_seconds):
        return 0
    survivors = list(marked(marker))
    for survivor in survivors:
        survivor.send(signal.SIGKILL)
    wait_until(lambda: not any(s.is_alive() for s in survivors), seconds=5)
    return len(survivors)
