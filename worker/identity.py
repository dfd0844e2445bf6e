"""Which host this is."""

import os
import socket
from pathlib import Path

from heimdall_core.jobs.leases import WorkerIdentity


def this_worker() -> WorkerIdentity:
    """The identity under which this process claims jobs: one worker per host and state directory."""
    host = socket.gethostname()
    return WorkerIdentity(
        name=os.environ.get("HEIMDALL_WORKER_NAME") or f"worker@{host}",
        host=host,
        boot_id=_boot_id(),
        has_gpu=count_gpus() > 0,
    )


def count_gpus() -> int:
    """NVIDIA devices of this host, without loading CUDA."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
