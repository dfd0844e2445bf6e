"""The append-only record of a run: one JSON object per line, written by every process that takes part."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Names the run's folder; every service and trainer of the run has it.
FOLDER = "HEIMDALL_CHAOS_FOLDER"

Line = dict[str, Any]


def folder() -> Path:
    """The folder of the run that this process belongs to."""
    return Path(os.environ[FOLDER])


def record(what: str, *, where: Path | None = None, **data: Any) -> None:
    """Appends a line in one write, so that the lines of several processes never mix."""
    line = {
        "what": what,
        "at": round(boot_now(), 4),
        "wall": round(time.time(), 3),
        "pid": os.getpid(),
        **data,
    }
    path = (where or folder()) / "trace.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[Line]:
    """The lines in the order in which they were written."""
    with path.open() as lines:
        yield from map(json.loads, lines)


def boot_now() -> float:
    """The clock that all processes of a host share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
