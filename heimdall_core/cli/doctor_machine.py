"""Checks of this machine: interpreter, folders, memory, accelerator, programs and ports."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from heimdall_core.cli.doctor_findings import (
    TIMEOUT_SECONDS,
    Check,
    Finding,
    Findings,
    broken,
    doubtful,
    fine,
)
from heimdall_core.cli.output import size
from heimdall_core.embedded.errors import ProgramMissing
from heimdall_core.embedded.ports import is_free
from heimdall_core.embedded.programs import postgres_programs, rclone_program, valkey_program

OLDEST_PYTHON: Final = (3, 11)
ENOUGH_DISK_BYTES: Final = 10e9
LEAST_DISK_BYTES: Final = 1e9
ENOUGH_MEMORY_BYTES: Final = 4e9
#: Importing torch from a cold disk takes longer than any server may.
TORCH_SECONDS: Final = 20.0

_ASK_NVIDIA: Final = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
_ASK_TORCH: Final = (
    "import torch; c = torch.cuda; has = c.is_available(); "
    "print(has, torch.version.cuda, *([c.get_device_name()] if has else []), sep=';')"
)


def machine_checks(folders: Mapping[str, Path]) -> list[Check]:
    """The checks that need no service; ``folders`` by the setting that names each."""
    return [
        Check(subject="python", run=check_python),
        Check(subject="memory", run=check_memory),
        *(Check(subject="disk", run=partial(check_folder, name, path)) for name, path in folders.items()),
        Check(
            subject="accelerator", run=check_accelerator, limit_seconds=TORCH_SECONDS + TIMEOUT_SECONDS + 1
        ),
    ]


def check_python() -> Findings:
    """Version of Python, and whether the system is one that the service runs on."""
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return [broken("python", found, f"install Python {wanted} or newer")]
    if platform.system() != "Linux":
        return [
            doubtful("python", found, "workers and `heimdall up` are made for Linux; use one, or containers")
        ]
    return [fine("python", found)]


def check_memory() -> Findings:
    """Memory that programs can still have."""
    available = available_memory_bytes()
    if available is None:
        return [fine("memory", f"{os.cpu_count()} CPUs; this system does not tell its free memory")]
    told = f"{size(available)} available, {os.cpu_count()} CPUs"
    if available < ENOUGH_MEMORY_BYTES:
        wanted = size(ENOUGH_MEMORY_BYTES)
        return [doubtful("memory", told, f"a training wants {wanted}: end other programs or use fewer slots")]
    return [fine("memory", told)]


def available_memory_bytes() -> int | None:
    """``MemAvailable`` of Linux, not more than the control group leaves."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return available
    return min(available, limit - used)


def check_folder(setting: str, path: Path) -> Findings:
    """Whether a folder can be written, and how much room it has."""
    existing = next(p for p in (path, *path.parents) if p.exists())
    if not existing.is_dir():
        return [
            broken("disk", f"{existing} is no folder", f"remove it, or name another folder with {setting}")
        ]
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        remedy = f"give it to user {os.getuid()} (chown), or name another folder with {setting}"
        return [broken("disk", f"{existing} cannot be written: {error.strerror}", remedy)]
    return [_room(setting, path, shutil.disk_usage(existing).free)]


def _room(setting: str, path: Path, free_bytes: int) -> Finding:
    told = f"{path} ({setting}) is writable, {size(free_bytes)} free"
    remedy = f"free some space, or name a folder on another disk with {setting}"
    if free_bytes < LEAST_DISK_BYTES:
        return broken("disk", told, remedy)
    return doubtful("disk", told, remedy) if free_bytes < ENOUGH_DISK_BYTES else fine("disk", told)


def check_accelerator() -> Findings:
    """What would train here: CUDA as torch sees it, and as the driver does."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return [fine("accelerator", "no torch: this machine can use the service but not work for it")]
    cards, seen = _cards(), _ask((sys.executable, "-c", _ASK_TORCH), TORCH_SECONDS)
    if seen is None:
        return [broken("accelerator", f"torch {torch} cannot be imported", "install the worker extra again")]
    has_cuda, cuda, *names = seen.split(";")
    if has_cuda == "True":
        return [fine("accelerator", f"{names[0]} with torch {torch}, CUDA {cuda}")]
    if not cards:
        return [fine("accelerator", f"none; torch {torch} trains on {os.cpu_count()} CPUs")]
    if cuda == "None":
        remedy = "install the CUDA build of torch"
    else:
        remedy = f"update the NVIDIA driver to one for CUDA {cuda}; in a container, pass the GPU in"
    return [doubtful("accelerator", f"{cards}, which torch {torch} does not see", remedy)]


def _cards() -> str | None:
    """Names of the NVIDIA cards by the driver, or None."""
    program = shutil.which("nvidia-smi")
    listed = _ask((program, *_ASK_NVIDIA), TIMEOUT_SECONDS) if program else None
    return "; ".join(listed.splitlines()) if listed else None


def _ask(command: tuple[str, ...], seconds: float) -> str | None:
    """What a program prints, or None where it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - our own command line
            command, capture_output=True, text=True, timeout=seconds, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def check_programs() -> Findings:
    """Whether the engines of ``heimdall up`` are here."""
    programs: dict[str, Callable[[], Path]] = {
        "PostgreSQL": postgres_programs,
        "Valkey": valkey_program,
        "rclone": rclone_program,
    }
    missing = [finding for name, find in programs.items() if (finding := _missing(name, find))]
    return missing or [fine("programs", f"{', '.join(programs)} for `heimdall up` are here")]


def _missing(name: str, find: Callable[[], Path]) -> Finding | None:
    try:
        find()
    except ProgramMissing as error:
        return broken("programs", f"{name}: {error.message}", error.hint or "install it")
    return None


def check_ports(ports: Mapping[str, int]) -> Findings:
    """Whether the ports that ``heimdall up`` would take are free."""
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if not taken:
        return [fine("ports", f"free: {_listed(ports.items())}")]
    return [
        doubtful(
            "ports",
            f"in use by another program: {_listed(taken.items())}",
            "`heimdall up` takes free ones instead; --port and the like choose",
        )
    ]


def _listed(ports: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {port}" for name, port in ports)
