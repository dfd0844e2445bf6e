"""Which host this is, and what it can run."""

import os
import socket
from pathlib import Path

from heimdall_core.jobs.claiming import WorkerIdentity
from worker.accelerators import count_gpus, gpu_memory


def this_worker() -> WorkerIdentity:
    """The identity under which this process claims jobs: one worker per host and state directory."""
    host = socket.gethostname()
    has_gpu = count_gpus() > 0
    return WorkerIdentity(
        name=os.environ.get("HEIMDALL_WORKER_NAME") or f"worker@{host}",
        host=host,
        boot_id=_boot_id(),
        has_gpu=has_gpu,
        memory_bytes=_smallest_gpu() if has_gpu else _host_memory(),
    )


def _smallest_gpu() -> int | None:
    totals = [memory.total_bytes for memory in gpu_memory().values()]
    return min(totals, default=None)


def _host_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
