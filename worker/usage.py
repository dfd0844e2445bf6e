"""What an attempt uses: the memory of its trainer, and the time that an epoch takes."""

import resource
import sys
from pathlib import Path
from typing import Any

from heimdall_core.domain.job import JobPhase

_KIB = 1024


def used_memory() -> dict[str, int]:
    """Asked in the trainer at its end: the most that it had of the host and, if it used one, of its GPU."""
    peaks = {"peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB}
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        peaks["peak_accelerator_bytes"] = torch.cuda.max_memory_reserved()
    return peaks


def held_memory() -> int:
    """Asked in the trainer: what it holds now of its GPU, or of the host where it uses none."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.memory_reserved())
    num_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return num_pages * resource.getpagesize()


def peak_of(pid: int, processes: Path = Path("/proc")) -> int | None:
    """The most memory of the host that a process has had, in bytes; None: it is gone."""
    try:
        lines = (processes / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith("VmHWM:"))
    return next((int(words[1]) * _KIB for words in found), None)


class EpochClock:
    """How long an epoch takes, from the moments at which progress is told."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._first = self._newest = 0

    def phase(self, phase: str, now: float) -> float | None:
        """A new phase begins; the seconds per epoch, if it ends a training."""
        former, self._began_at = self._began_at, now if phase == JobPhase.TRAINING.value else None
        if former is None or not self._first:
            return None
        return round((now - former) / (self._newest - self._first + 1), 3)

    def progress(self, epoch: object) -> None:
        """The training is in this epoch, counted from 1."""
        if self._began_at is not None and isinstance(epoch, int):
            self._first, self._newest = self._first or epoch, epoch
