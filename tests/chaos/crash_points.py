"""Named points at which a process of the run can be made to end, or to misbehave, once.

A point is armed by a file; the process that takes the file away is the one that it happens to.
"""

import contextlib
import errno
import os
import signal
import time
from pathlib import Path
from typing import Literal

from tests.chaos import trace

Deed = Literal["kill", "segv", "memory", "disk", "term", "freeze"]


def arm(folder: Path, point: str, deed: Deed) -> None:
    """The next process that comes by the point does the deed."""
    part = folder / "armed" / f".{point}"
    part.write_text(deed)
    part.rename(folder / "armed" / point)


def disarm(folder: Path, point: str) -> bool:
    """Takes the point back; False: a process has come by."""
    try:
        (folder / "armed" / point).unlink()
    except FileNotFoundError:
        return False
    return True


def pass_by(point: str, **data: object) -> None:
    """Does what the point is armed with, if it is."""
    armed = trace.folder() / "armed" / point
    if not armed.exists():
        return
    taken = armed.with_name(f".{point}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        armed.rename(taken)
        deed = taken.read_text()
        taken.unlink()
        trace.record("crash_point", point=point, deed=deed, **data)
        _do(deed)


def _do(deed: str) -> None:
    match deed:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(10)
        case "term":
            os.kill(_worker(), signal.SIGTERM)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "memory":
            raise MemoryError("made to run out of memory")
        case "disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _worker() -> int:
    """The worker that this process is, or whose fork server it was forked from."""
    pid = os.getpid()
    while "chaotic_worker" not in Path(f"/proc/{pid}/cmdline").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid
