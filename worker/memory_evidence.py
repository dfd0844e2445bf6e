"""Whether the kernel's memory killer struck while a trainer ran: a SIGKILL alone proves nothing."""

from collections.abc import Sequence
from pathlib import Path

_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


class MemoryEvidence:
    """Counts the kills since it was made, of this control group and of the host."""

    def __init__(self, counters: Sequence[Path] = _COUNTERS) -> None:
        self._counters = counters
        self._before = self._read()

    def ran_out(self) -> bool:
        """Whether the kernel has killed a process for want of memory since."""
        return any(now > before for now, before in zip(self._read(), self._before, strict=True))

    def _read(self) -> list[int]:
        return [_oom_kills(path) for path in self._counters]


def _oom_kills(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(value) for name, _, value in (line.partition(" ") for line in lines) if name == "oom_kill")
