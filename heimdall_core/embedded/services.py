"""The service's own processes, as children of the stack."""

import sys
from collections.abc import Mapping
from pathlib import Path

from heimdall_core.embedded.object_store import REGION
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.program import ProgramSpec, http_status

#: A worker gives its trainer time to write a checkpoint.
WORKER_STOP_SECONDS = 60.0


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def migrate_command() -> tuple[str, ...]:
    """Brings the database to the newest schema, registers the local API key, and ends."""
    return _python("heimdall_core.migrate")


def api(*, port: int, run: Path) -> ProgramSpec:
    """The HTTP API."""
    return ProgramSpec(
        name="api",
        argv=_python(
            "uvicorn",
            *("--factory", "api.main:create", "--host", LOOPBACK, "--port", str(port)),
            *("--timeout-graceful-shutdown", "3", "--limit-concurrency", "4000"),
            *("--http", "api.protocol:BoundedProtocol", "--no-access-log"),
        ),
        cwd=run,
        port=port,
        url=f"http://{LOOPBACK}:{port}",
        is_ready=lambda: http_status(port, "/readyz") == 200,  # noqa: PLR2004 - OK
    )


def _celery_worker(name: str, queue: str, *, threads: int, run: Path, stop_seconds: float) -> ProgramSpec:
    return ProgramSpec(
        name=name,
        argv=_python(
            "celery",
            *("-A", "worker.celery_app", "worker", "-Q", queue, "-P", "threads", "-c", str(threads)),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{name}@%h"),
        ),
        cwd=run,
        stop_seconds=stop_seconds,
    )


def worker(*, run: Path) -> ProgramSpec:
    """Claims jobs and supervises their trainers."""
    return _celery_worker("worker", "jobs", threads=1, run=run, stop_seconds=WORKER_STOP_SECONDS)


def control(*, run: Path) -> ProgramSpec:
    """Reaps, hints again, projects into MLflow."""
    return _celery_worker("control", "control", threads=2, run=run, stop_seconds=20)


def beat(*, run: Path) -> ProgramSpec:
    """The clock of the control worker."""
    return ProgramSpec(
        name="beat",
        argv=_python("celery", "-A", "worker.celery_app", "beat", "-s", str(run / "beat-schedule")),
        cwd=run,
    )


def mlflow(*, port: int, run: Path, database_url: str, storage: Mapping[str, str]) -> ProgramSpec:
    """The tracking server, which nothing waits for; its secrets travel by environment."""
    return ProgramSpec(
        name="mlflow",
        argv=_python("mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
        cwd=run,
        env={
            "MLFLOW_BACKEND_STORE_URI": database_url,
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://heimdall-mlflow",
            "MLFLOW_SERVE_ARTIFACTS": "true",
            "MLFLOW_S3_ENDPOINT_URL": storage["HEIMDALL_STORAGE__ENDPOINT_URL"],
            "AWS_ACCESS_KEY_ID": storage["HEIMDALL_STORAGE__ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": storage["HEIMDALL_STORAGE__SECRET_ACCESS_KEY"],
            "AWS_DEFAULT_REGION": storage.get("HEIMDALL_STORAGE__REGION", REGION),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        },
        port=port,
        url=f"http://{LOOPBACK}:{port}",
        is_ready=lambda: http_status(port, "/health") == 200,  # noqa: PLR2004 - OK
        is_awaited=False,
        stop_seconds=5,
    )
