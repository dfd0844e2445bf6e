"""What the service's processes hold, as /proc tells it."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """By a process and, unless it stands for itself, by all that it started."""

    processes: int
    rss_mb: float
    descriptors: int
    threads: int

    def to_dict(self) -> dict[str, float]:
        """The JSON form."""
        return asdict(self)


def descendants(pid: int) -> list[int]:
    """The process and whatever it started, zombies left out."""
    children: dict[int, list[int]] = {}
    for process in _alive():
        children.setdefault(_parent(process), []).append(process)
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


def held_by(pids: list[int]) -> Held:
    """The sum over the processes; one that is gone counts nothing."""
    alive = [pid for pid in pids if Path(f"/proc/{pid}").is_dir()]
    return Held(
        processes=len(alive),
        rss_mb=round(sum(_rss_kb(pid) for pid in alive) / 1024, 1),
        descriptors=sum(_count(pid, "fd") for pid in alive),
        threads=sum(_count(pid, "task") for pid in alive),
    )


def command_of(pid: int) -> str:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _alive() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _state(int(p.name)) != "Z"]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["Z", "0"]


def _state(pid: int) -> str:
    return _stat(pid)[0]


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _rss_kb(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KB
    except OSError:
        return 0


def _count(pid: int, folder: str) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/{folder}").iterdir()))
    except OSError:
        return 0
