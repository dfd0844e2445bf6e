"""The servers that are measured: ours, and MLflow's."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from heimdall_core.embedded import services
from heimdall_core.embedded.ports import LOOPBACK

_START_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process that answers."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where."""
        return f"http://{LOOPBACK}:{self.port}"


@contextmanager
def serving_api(folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """One process of the service, as its image starts it, with the bare routes beside it."""
    port = _free_port()
    argv = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.api_server:create"]
    argv += ["--port", str(port), "--http", "api.protocol:BoundedProtocol"]
    argv += ["--no-access-log", "--log-level", "warning"]
    with (folder / "api.log").open("wb") as log, _process(argv, environment, log) as process:
        _wait(process, f"http://{LOOPBACK}:{port}/livez")
        yield Server(port=port, pid=process.pid)


@contextmanager
def serving_mlflow(folder: Path, environment: Mapping[str, str], database_url: str) -> Iterator[Server]:
    """MLflow's server on a database of the same PostgreSQL; the pid is that of its one worker."""
    port = _free_port()
    spec = services.mlflow(port=port, run=folder, database_url=database_url, storage=environment)
    given = {**environment, **spec.env}
    with (folder / "mlflow.log").open("wb") as log, _process([*spec.argv], given, log) as process:
        _wait(process, f"http://{LOOPBACK}:{port}/health")
        yield Server(port=port, pid=_youngest(process.pid))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def _youngest(pid: int) -> int:
    """Of the process's descendants: MLflow's launcher starts what serves."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _youngest(int(children[-1])) if children else pid


@contextmanager
def _process(
    argv: Sequence[str], environment: Mapping[str, str], log: Any
) -> Iterator[subprocess.Popen[bytes]]:
    root = str(Path(__file__).parents[1])
    given = {**os.environ, **environment, "PYTHONPATH": root}
    process = subprocess.Popen(argv, env=given, cwd=root, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer; the log lies beside the engines")
