"""NVIDIA devices as the driver's own tool reports them: this process never loads CUDA."""

import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import structlog

_QUERY = ("--query-gpu=index,memory.total,memory.used", "--format=csv,noheader,nounits")
_TIMEOUT_SECONDS = 10.0
_MIB = 2**20
#: Another process of the device may take a little; a trainer that was left behind takes far more.
_TOLERATED_BYTES = 512 * _MIB
_RELEASE_POLL_SECONDS = 5.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Of one device."""

    total_bytes: int
    used_bytes: int


def count_gpus() -> int:
    """NVIDIA devices of this host that are not hidden by ``CUDA_VISIBLE_DEVICES``."""
    return len(visible_gpus())


def visible_gpus() -> tuple[str, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` may name, one for each device; empty: none."""
    present = len(list(Path("/dev").glob("nvidia[0-9]*")))
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is None:
        return tuple(str(index) for index in range(present))
    return tuple(name.strip() for name in stated.split(",") if name.strip()) if present else ()


def gpu_memory() -> dict[str, GpuMemory]:
    """Memory by device index; empty where nobody can tell."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own tool
            [tool, *_QUERY], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        )
        rows = [line.split(",") for line in done.stdout.splitlines() if line.strip()]
        return {
            index.strip(): GpuMemory(total_bytes=int(total) * _MIB, used_bytes=int(used) * _MIB)
            for index, total, used in rows
        }
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


class DeviceMemory:
    """What the devices of a job hold before its trainer, so that what it leaves behind is noticed."""

    def __init__(self, devices: str | None) -> None:
        """``devices``: a ``CUDA_VISIBLE_DEVICES``, of one slot or several."""
        self._names = devices.split(",") if devices else []
        self._before = self._used()

    def wait_until_free(self, shutdown: threading.Event) -> None:
        """Returns at once on a clean device; otherwise keeps the slot from its next job until it is."""
        leaked = self._leaked()
        while leaked and not shutdown.wait(_RELEASE_POLL_SECONDS):
            for device, extra in leaked.items():
                _log.error("accelerator_memory_not_released", device=device, bytes=extra)
            leaked = self._leaked()

    def _leaked(self) -> dict[str, int]:
        extra = {name: used - self._before.get(name, used) for name, used in self._used().items()}
        return {name: leaked for name, leaked in extra.items() if leaked > _TOLERATED_BYTES}

    def _used(self) -> dict[str, int]:
        if not self._names:
            return {}
        found = gpu_memory()
        return {name: found[name].used_bytes for name in self._names if name in found}
