"""MLflow gets what it is sent when it answers; when it does not, nobody waits and nothing fails."""

import time
from pathlib import Path

import pytest

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking import JOB_ID_TAG, MLflowTracker, TrackingTarget, initialize_mlflow

# MLflow 3.17's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@pytest.fixture
def dead_target(monkeypatch: pytest.MonkeyPatch) -> TrackingTarget:
    """Nobody listens on the discard port."""
    import mlflow  # noqa: F401 - seconds that are not the server's

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return TrackingTarget(uri="http://127.0.0.1:9", experiment="tests")


@pytest.fixture(scope="module")
def local_target(tmp_path_factory: pytest.TempPathFactory) -> TrackingTarget:
    """An MLflow store in a file."""
    folder = tmp_path_factory.mktemp("mlflow")
    return TrackingTarget(uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="tests")


def test_an_unreachable_server_costs_no_time_and_warns_once(dead_target: TrackingTarget) -> None:
    warnings: list[str] = []
    began_at = time.monotonic()
    tracker = MLflowTracker(dead_target, run_name="run", tags={}, on_unavailable=warnings.append)
    tracker.log_params({"epochs": 3})
    for step in range(5000):
        tracker.log_metrics({"val_loss": 1.0}, step=step)
    tracker.log_artifact(Path("/nowhere/report.json"))
    assert time.monotonic() - began_at < 1.0
    tracker.close(deadline_seconds=20)
    assert tracker.run_id is None
    assert len(warnings) == 1


def test_an_unreachable_server_is_named(dead_target: TrackingTarget) -> None:
    with pytest.raises(TrackingUnavailable, match=r"127\.0\.0\.1:9"):
        initialize_mlflow(dead_target.uri, dead_target.experiment)


def test_closing_twice_and_logging_afterwards_does_nothing(dead_target: TrackingTarget) -> None:
    tracker = MLflowTracker(dead_target, run_name="run", tags={})
    tracker.close(20)
    tracker.close(20)
    tracker.log_metrics({"val_loss": 1.0}, step=1)


def test_parameters_curves_and_tags_arrive(local_target: TrackingTarget) -> None:
    tracker = MLflowTracker(local_target, run_name="job_1", tags={JOB_ID_TAG: "job_1"})
    tracker.log_params({"training.epochs": 3, "model.backbone": "micro"})
    for step in range(5):
        tracker.log_metrics({"val_loss": 5.0 - step}, step=step)
    tracker.close(60)
    assert tracker.run_id is not None
    client, _ = initialize_mlflow(local_target.uri, local_target.experiment)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"training.epochs": "3", "model.backbone": "micro"}
    assert run.data.tags[JOB_ID_TAG] == "job_1"
    history = client.get_metric_history(tracker.run_id, "val_loss")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == [
        (step, 5.0 - step) for step in range(5)
    ]


def test_a_second_attempt_goes_on_in_the_run_of_the_first(local_target: TrackingTarget) -> None:
    runs = []
    for attempt in ("1", "2"):
        tags = {JOB_ID_TAG: "job_2", "heimdall.attempt": attempt}
        tracker = MLflowTracker(local_target, run_name="job_2", tags=tags)
        tracker.end("FAILED" if attempt == "1" else "FINISHED")
        tracker.close(60)
        runs.append(tracker.run_id)
    assert runs[0] == runs[1] is not None
