"""A real MLflow server on PostgreSQL and S3, stopped and started while a run goes on."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from heimdall_core.embedded import services
from heimdall_core.embedded.program import http_status
from heimdall_core.settings import Settings, TrackingSettings
from heimdall_core.storage import S3Store
from heimdall_core.tracking import (
    JOB_ID_TAG,
    MLflowTracker,
    TrackingTarget,
    connect,
    initialize_mlflow,
    target_of,
)

# MLflow's own store, run in this process, uses what SQLAlchemy deprecates.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning"),
]


class Server:
    """``mlflow server`` as the local stack starts it, on one port all along."""

    def __init__(self, settings: Settings, environment: dict[str, str], folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.backend_store = mlflow_database(settings)
        self._spec = services.mlflow(
            port=self.port, run=folder, database_url=self.backend_store, storage=environment
        )
        self._log = folder / "mlflow.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._spec.argv,
                cwd=self._spec.cwd,
                env={**os.environ, **self._spec.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(lambda: http_status(self.port, "/health") == 200, seconds=120)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def mlflow_database(settings: Settings) -> str:
    url = make_url(settings.database.url.get_secret_value())
    return url.set(database="mlflow").render_as_string(hide_password=False)


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(
    settings: Settings, engines_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = Server(settings, engines_environment, tmp_path_factory.mktemp("mlflow-server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def configured(
    settings: Settings, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The settings of a service that tracks on the server; access to S3 is set back afterwards."""
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "set back afterwards")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    tracking = TrackingSettings(uri=server.uri, experiment="tests", run_name_prefix="it-")
    return settings.model_copy(update={"tracking": tracking, "home": tmp_path})


def curve(client: Any, run_id: str | None) -> list[tuple[int, float]]:
    history = client.get_metric_history(run_id, "val_loss")
    return [(m.step, m.value) for m in sorted(history, key=lambda m: (m.timestamp, m.step))]


def test_a_server_that_is_stopped_in_mid_run_misses_nothing_in_the_end(
    configured: Settings, server: Server, store: S3Store, tmp_path: Path
) -> None:
    target = target_of(configured)
    assert target is not None
    assert target.spool_dir == tmp_path / "tracking"
    client, _ = connect(target)
    tracker = MLflowTracker(target, run_name="job_1", tags={JOB_ID_TAG: "job_1"})
    tracker.log_params({"training": {"epochs": 3}})
    for step in range(100):
        tracker.log_metrics({"val_loss": float(step), "lr": 0.1}, step=step)
    until(lambda: tracker.run_id is not None and len(curve(client, tracker.run_id)) == 100)

    server.stop()
    began_at = time.monotonic()
    for step in range(100, 2000):
        tracker.log_metrics({"val_loss": float(step), "lr": 0.1}, step=step)
    tracker.log_params({"late": "yes"})
    report = tmp_path / "report.json"
    report.write_text("{}")
    tracker.log_artifact(report, "report")
    assert time.monotonic() - began_at < 2.0
    spool = tmp_path / "tracking"
    until(lambda: bool(list(spool.glob("*/files/*/report.json"))))
    report.unlink()

    server.start()
    for step in range(2000, 2100):
        tracker.log_metrics({"val_loss": float(step), "lr": 0.1}, step=step)
    tracker.close(120)
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "it-job_1")
    assert run.data.params == {"training.epochs": "3", "late": "yes"}
    assert curve(client, tracker.run_id) == [(step, float(step)) for step in range(2100)]
    assert [found.path for found in client.list_artifacts(tracker.run_id, "report")] == ["report/report.json"]
    in_s3 = f"{run.info.experiment_id}/{tracker.run_id}/artifacts/report/report.json"
    assert store.size(f"s3://heimdall-mlflow/{in_s3}") == 2
    assert not list(spool.iterdir())


def test_the_database_and_s3_are_used_straight_where_there_is_no_server(
    configured: Settings, server: Server, store: S3Store, tmp_path: Path
) -> None:
    tracking = TrackingSettings(
        backend_store_uri=SecretStr(server.backend_store),
        artifact_root="s3://heimdall-mlflow/straight",
        experiment="straight",
    )
    tracker = initialize_mlflow(configured.model_copy(update={"tracking": tracking}))
    tracker.start_run("run", {"note": "x"})
    tracker.log_metrics({"val_loss": 2.0}, step=1)
    (tmp_path / "plot.png").write_bytes(b"png")
    tracker.log_artifact(tmp_path / "plot.png")
    tracker.close(120)
    assert tracker.run_id is not None
    client, _ = connect(TrackingTarget(uri=server.uri, experiment="straight"))
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.tags["note"]) == ("FINISHED", "x")
    assert curve(client, tracker.run_id) == [(1, 2.0)]
    stored = store.list_sizes("s3://heimdall-mlflow/straight/straight/")
    assert [uri.rpartition("/")[2] for uri in stored] == ["plot.png"]
    version = tracker.register_model("straight", "s3://heimdall-models/x/model.onnx")
    tracker.transition_model_stage("straight", version, "Production")
    champion = client.get_model_version_by_alias("straight", "champion")
    assert (str(champion.version), champion.run_id) == (version, tracker.run_id)
    best = tracker.get_best_run("val_loss")
    assert best is not None
    assert best.run_id == tracker.run_id
