"""MLflow gets what it is sent when it answers; when it does not, nobody waits and nothing fails."""

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
import pytest

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking import JOB_ID_TAG, MLflowTracker, S3Access, TrackingTarget, connect, journal, pump
from heimdall_core.tracking.__main__ import main as flush_spool
from heimdall_core.tracking.items import Item, Point, RunStart
from heimdall_core.tracking.journal import FileJournal
from heimdall_core.tracking.leftovers import find_leftovers, target_key
from heimdall_core.tracking.sending import KnownSteps, RunWriter

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
    return TrackingTarget(
        uri=f"sqlite:///{folder / 'mlflow.db'}",
        experiment="tests",
        artifact_root=f"file://{folder}/artifacts",
    )


@pytest.fixture
def spooled(local_target: TrackingTarget, tmp_path: Path) -> TrackingTarget:
    """The same store, and a spool of this test's own."""
    return replace(local_target, spool_dir=tmp_path / "spool")


@pytest.fixture
def client(local_target: TrackingTarget) -> "MlflowClient":
    return connect(local_target)[0]


def curve(client: "MlflowClient", run_id: str | None, name: str = "val_loss") -> list[tuple[int, float]]:
    assert run_id is not None
    return [
        (m.step, m.value) for m in sorted(client.get_metric_history(run_id, name), key=lambda m: m.timestamp)
    ]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def leave_journal(target: TrackingTarget, start: RunStart, items: list[Item], *, name: str = "left") -> Path:
    """As a process leaves it that was killed."""
    assert target.spool_dir is not None
    folder = target.spool_dir / name
    left = FileJournal.create(folder, start, target_key=target_key(target), limit_bytes=1 << 20)
    for item in items:
        left.append(item)
    assert left._writer is not None
    left._writer.close()
    left._lock_file.close()
    return folder


def points(*steps: int) -> list[Item]:
    return [Item(points=(Point(name="val_loss", value=float(s), step=s, at_ms=1000 + s),)) for s in steps]


def test_an_unreachable_server_costs_no_time_and_warns_once(dead_target: TrackingTarget) -> None:
    warnings: list[str] = []
    began_at = time.monotonic()
    tracker = MLflowTracker(dead_target, run_name="run", tags={}, on_unavailable=warnings.append)
    tracker.log_params({"epochs": 3})
    for step in range(5000):
        tracker.log_metrics({"val_loss": 1.0}, step=step)
    tracker.log_artifact(Path("/nowhere/report.json"))
    assert time.monotonic() - began_at < 10.0
    tracker.close(deadline_seconds=20)
    assert tracker.run_id is None
    assert len(warnings) == 1


def test_an_unreachable_server_is_named(dead_target: TrackingTarget) -> None:
    with pytest.raises(TrackingUnavailable, match=r"127\.0\.0\.1:9"):
        connect(dead_target)


def test_a_password_in_the_address_is_in_no_message(dead_target: TrackingTarget) -> None:
    secret = replace(dead_target, uri="http://me:hunter2@127.0.0.1:9")
    told: list[str] = []
    MLflowTracker(secret, run_name="run", on_unavailable=told.append).close(20)
    with pytest.raises(TrackingUnavailable) as refused:
        MLflowTracker(secret).get_best_run()
    assert told
    assert "hunter2" not in f"{told} {refused.value} {refused.value.hint}"
    assert refused.value.__suppress_context__


def test_what_an_unreachable_server_does_not_take_stays_in_the_spool(
    dead_target: TrackingTarget, tmp_path: Path
) -> None:
    tracker = MLflowTracker(dead_target, run_name="run", spool_dir=tmp_path / "spool")
    tracker.log_metrics({"val_loss": 1.0}, step=1)
    report = tmp_path / "report.json"
    report.write_text("{}")
    tracker.log_artifact(report)
    tracker.close(20)
    report.unlink()
    (folder,) = (tmp_path / "spool").iterdir()
    left = FileJournal(folder, 1 << 20)
    tags, metrics, file, end = left.peek(9)
    assert tags.tags == left.start.tags
    assert [(p.name, p.step) for p in metrics.points] == [("val_loss", 1)]
    assert file.file is not None
    assert file.file.read_text() == "{}"
    assert end.end_status == "FINISHED"
    left.close()


def test_parameters_and_the_end_are_kept_though_the_queue_is_full(
    dead_target: TrackingTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "_QUEUE_SIZE", 0)
    tracker = MLflowTracker(dead_target, run_name="run", spool_dir=tmp_path / "spool")
    tracker.log_params({"epochs": 3})
    tracker.log_metrics({"val_loss": 1.0}, step=1)
    tracker.close(20)
    (folder,) = (tmp_path / "spool").iterdir()
    with closing(FileJournal(folder, 1 << 20)) as left:
        _, params, end = left.peek(9)
    assert (params.params, end.end_status) == ({"epochs": "3"}, "FINISHED")


def test_one_thing_that_cannot_be_written_costs_no_other(
    dead_target: TrackingTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "_files_of", unless_strange(pump._files_of))
    tracker = MLflowTracker(dead_target, run_name="run", spool_dir=tmp_path / "spool")
    tracker.log_metrics({"val_loss": 1.0}, step=np.int64(1))  # type: ignore[arg-type]
    tracker._put(Item(points=(Point(name="x", value=1.0, step=object(), at_ms=0),)))  # type: ignore[arg-type]
    tracker.log_artifact(Path("strange"))
    tracker.log_metrics({"val_loss": 2.0}, step=2)
    tracker.close(20)
    (folder,) = (tmp_path / "spool").iterdir()
    with closing(FileJournal(folder, 1 << 20)) as left:
        _, *metrics, end = left.peek(9)
    assert [point.step for item in metrics for point in item.points] == [1, 2]
    assert end.end_status == "FINISHED"


def unless_strange(files_of: Callable[[Item], Any]) -> Callable[[Item], Any]:
    def call(item: Item) -> Any:
        if item.file == Path("strange"):
            raise PermissionError("strange")
        return files_of(item)

    return call


def test_a_broken_disk_does_not_fail_the_end(
    dead_target: TrackingTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(journal, "_read_from", broken)
    MLflowTracker(dead_target, run_name="run", spool_dir=tmp_path / "spool").close(20)


def test_a_registration_has_a_limit_and_says_so(dead_target: TrackingTarget) -> None:
    with pytest.raises(TrackingUnavailable) as late:
        MLflowTracker(dead_target).register_model("m", "s3://models/m.onnx", limit_seconds=0.5)
    assert late.value.stable_code == "registration_timeout"
    assert late.value.hint


def test_closing_twice_and_logging_afterwards_does_nothing(dead_target: TrackingTarget) -> None:
    tracker = MLflowTracker(dead_target, run_name="run", tags={})
    tracker.close(20)
    tracker.close(20)
    tracker.log_metrics({"val_loss": 1.0}, step=1)


def test_parameters_curves_and_tags_arrive(local_target: TrackingTarget, client: "MlflowClient") -> None:
    tracker = MLflowTracker(local_target, run_name="job_1", tags={JOB_ID_TAG: "job_1"})
    tracker.log_params({"training.epochs": 3, "model.backbone": "micro"})
    for step in range(5):
        tracker.log_metrics({"val_loss": 5.0 - step}, step=step)
    tracker.close(60)
    assert tracker.run_id is not None
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"training.epochs": "3", "model.backbone": "micro"}
    assert run.data.tags[JOB_ID_TAG] == "job_1"
    assert curve(client, tracker.run_id) == [(step, 5.0 - step) for step in range(5)]


def test_a_second_attempt_goes_on_in_the_run_of_the_first(local_target: TrackingTarget) -> None:
    runs = []
    for attempt in ("1", "2"):
        tags = {JOB_ID_TAG: "job_2", "heimdall.attempt": attempt}
        tracker = MLflowTracker(local_target, run_name="job_2", tags=tags)
        tracker.end("FAILED" if attempt == "1" else "FINISHED")
        tracker.close(60)
        runs.append(tracker.run_id)
    assert runs[0] == runs[1] is not None


def test_a_second_attempt_repeats_no_step_and_tells_what_it_changed(
    local_target: TrackingTarget, client: "MlflowClient"
) -> None:
    run_id = None
    for attempt, batch_size, steps in (("1", 32, range(5)), ("2", 16, range(3, 8))):
        tags = {JOB_ID_TAG: "job_3", "heimdall.attempt": attempt}
        tracker = MLflowTracker(local_target, run_name="job_3", tags=tags)
        tracker.log_params({"epochs": 3, "batch_size": batch_size})
        for step in steps:
            tracker.log_metrics({"val_loss": float(step)}, step=step)
        tracker.close(60)
        run_id = tracker.run_id
    assert curve(client, run_id) == [(step, float(step)) for step in range(8)]
    data = client.get_run(run_id).data
    assert data.params["batch_size"] == "32"
    assert data.tags["heimdall.changed.batch_size"] == "16"
    assert data.tags["heimdall.attempt"] == "2"


def test_the_next_attempt_sends_first_what_a_killed_one_left(
    spooled: TrackingTarget, client: "MlflowClient"
) -> None:
    tags = {JOB_ID_TAG: "job_4"}
    start = RunStart(key="job_4", key_tag=JOB_ID_TAG, name="job_4", tags=tags, at_ms=1000)
    folder = leave_journal(spooled, start, points(0, 1, 2, 3))
    tracker = MLflowTracker(spooled, run_name="job_4", tags=tags)
    for step in (2, 3, 4, 5):
        tracker.log_metrics({"val_loss": float(step)}, step=step)
    tracker.close(60)
    assert curve(client, tracker.run_id) == [(step, float(step)) for step in range(6)]
    assert not folder.exists()


def test_a_later_run_sends_and_ends_the_run_of_a_killed_process(
    spooled: TrackingTarget, client: "MlflowClient"
) -> None:
    start = RunStart(key="k1", key_tag="heimdall.run_key", name="killed", tags={}, at_ms=1000)
    folder = leave_journal(spooled, start, points(0, 1))
    tracker = MLflowTracker(spooled, run_name="later")
    until(lambda: not folder.exists())
    tracker.close(60)
    (run,) = client.search_runs([connect(spooled)[1]], "tags.`heimdall.run_key` = 'k1'")
    assert (run.info.status, run.info.end_time) == ("KILLED", 1001)
    assert curve(client, run.info.run_id) == [(0, 0.0), (1, 1.0)]


def test_what_is_left_is_sent_by_hand(
    spooled: TrackingTarget,
    client: "MlflowClient",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = RunStart(key="k2", key_tag="heimdall.run_key", name="left", tags={}, at_ms=1000)
    monkeypatch.chdir(tmp_path)
    assert flush_spool() == 2
    monkeypatch.setenv("HEIMDALL_HOME", str(tmp_path))
    monkeypatch.setenv("HEIMDALL_TRACKING__URI", spooled.uri)
    monkeypatch.setenv("HEIMDALL_TRACKING__EXPERIMENT", spooled.experiment)
    left = replace(spooled, spool_dir=tmp_path / "tracking")
    leave_journal(left, start, [*points(0), Item(end_status="FAILED", at_ms=1001)])
    assert flush_spool() == 0
    assert "1 runs sent" in capsys.readouterr().out
    (run,) = client.search_runs([connect(spooled)[1]], "tags.`heimdall.run_key` = 'k2'")
    assert run.info.status == "FAILED"
    monkeypatch.setenv("HEIMDALL_TRACKING__URI", "http://127.0.0.1:9")
    away = replace(left, uri="http://127.0.0.1:9")
    folder = leave_journal(away, start, points(1))
    assert flush_spool() == 1
    assert folder.exists()


def test_one_bad_leftover_holds_up_no_other(
    spooled: TrackingTarget, client: "MlflowClient", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    for key in ("k3", "k4"):
        start = RunStart(key=key, key_tag="heimdall.run_key", name=key, tags={}, at_ms=1000)
        folders.append(leave_journal(spooled, start, points(0), name=key))
    (damaged,) = folders[0].glob("*.jsonl")
    damaged.unlink()
    damaged.mkdir()
    tracker = MLflowTracker(spooled, run_name="later")
    until(lambda: not folders[1].exists())
    tracker.close(60)
    assert folders[0].exists()
    (run,) = client.search_runs([connect(spooled)[1]], "tags.`heimdall.run_key` = 'k4'")
    assert run.info.status == "KILLED"


def test_leftovers_are_opened_when_their_turn_comes_and_ones_own_comes_first(tmp_path: Path) -> None:
    target = TrackingTarget(uri="http://127.0.0.1:9", experiment="tests", spool_dir=tmp_path)
    starts = [
        RunStart(key=key, key_tag="heimdall.run_key", name=key, tags={}, at_ms=1000)
        for key in ("a", "b", "c")
    ]
    folders = [leave_journal(target, start, points(0), name=start.key) for start in starts]
    leftovers = find_leftovers(target, starts[1], notice=print)
    first = next(leftovers)
    assert (first.name, first.is_own) == ("b", True)
    for folder in (folders[0], folders[2]):
        FileJournal(folder, 1 << 20).close()
    first.close()
    names = []
    for leftover in leftovers:
        names.append(leftover.name)
        leftover.close()
    assert names == ["a", "c"]


def test_a_journal_that_cannot_be_opened_now_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TrackingTarget(uri="http://127.0.0.1:9", experiment="tests", spool_dir=tmp_path)
    start = RunStart(key="a", key_tag="heimdall.run_key", name="a", tags={}, at_ms=1000)
    folder = leave_journal(target, start, points(0))
    for path in (folder, *folder.glob("*.json*")):
        os.utime(path, (0, 0))

    def too_many(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(journal, "_lock", too_many)
    assert list(find_leftovers(target, None, notice=print)) == []
    assert folder.exists()


def test_another_jobs_spool_is_left_to_the_control_worker(spooled: TrackingTarget) -> None:
    start = RunStart(key="job_9", key_tag=JOB_ID_TAG, name="job_9", tags={JOB_ID_TAG: "job_9"}, at_ms=1000)
    folder = leave_journal(spooled, start, points(0))
    MLflowTracker(spooled, run_name="later").close(60)
    assert folder.exists()


def test_files_and_folders_arrive_after_they_were_deleted(
    spooled: TrackingTarget, client: "MlflowClient", tmp_path: Path
) -> None:
    plots = tmp_path / "plots"
    (plots / "deep").mkdir(parents=True)
    (plots / "a.png").write_bytes(b"a")
    (plots / "deep" / "b.png").write_bytes(b"b")
    tracker = MLflowTracker(spooled, run_name="files")
    tracker.log_artifacts_dir(plots, "report")
    tracker.log_artifact(tmp_path / "absent.json")
    tracker.close(60)
    assert tracker.run_id is not None
    found = {
        f.path for folder in ("report", "report/deep") for f in client.list_artifacts(tracker.run_id, folder)
    }
    assert found == {"report/a.png", "report/deep", "report/deep/b.png"}
    assert not list((tmp_path / "spool").iterdir())


def test_curves_do_not_wait_for_a_store_of_artifacts_that_is_away(
    spooled: TrackingTarget, client: "MlflowClient", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "set back afterwards")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3 = S3Access(
        endpoint_url="http://127.0.0.1:9", access_key_id="a", secret_access_key="b", region="us-east-1"
    )
    target = replace(spooled, experiment="s3", artifact_root="s3://heimdall-mlflow", s3=s3)
    (tmp_path / "report.json").write_text("{}")
    tracker = MLflowTracker(target, run_name="run")
    tracker.log_artifact(tmp_path / "report.json")
    tracker.log_metrics({"val_loss": 1.0}, step=0)
    tracker.close(60)
    assert curve(client, tracker.run_id) == [(0, 1.0)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    assert len(list((tmp_path / "spool").glob("*/files/*/report.json"))) == 1


def test_what_mlflow_refuses_for_good_holds_nothing_up() -> None:
    from mlflow.exceptions import MlflowException

    class Picky:
        def __init__(self) -> None:
            self.steps: list[int] = []

        def log_batch(self, run_id: str, metrics: Any = ()) -> None:
            if any(m.key == "bad" for m in metrics):
                raise MlflowException.invalid_parameter_value("token=hunter2 is no name")
            self.steps += [m.step for m in metrics]

    picky: Any = Picky()
    told: list[str] = []
    writer = RunWriter(picky, "r", params={}, steps=KnownSteps(picky, "r", {}), notice=told.append)
    bad = Item(points=(Point(name="bad", value=0.0, step=9, at_ms=0),))
    writer.write(*points(0, 1), bad, *points(2))
    assert picky.steps == [0, 1, 2]
    assert told == ["MLflow refused bad: token=*** is no name"]


def test_runs_and_versions_are_found_again(local_target: TrackingTarget, client: "MlflowClient") -> None:
    for name, error_m in (("worse", 900.0), ("better", 300.0)):
        tracker = MLflowTracker(local_target, tags={"note": "of all"})
        tracker.log_metrics({"test_error_m": error_m}, step=0)
        tracker.start_run(name, {"note": name})
        tracker.close(60)
    best = tracker.get_best_run("test_error_m")
    assert best is not None
    assert (best.run_id, best.name, best.status) == (tracker.run_id, "better", "FINISHED")
    assert best.tags["note"] == "better"
    assert best.metrics == {"test_error_m": 300.0}
    assert tracker.get_run_info() == best
    assert tracker.get_best_run("nobody_logs_this") is None
    first = tracker.register_model("localization", "s3://models/1/model.onnx")
    second = tracker.register_model("localization", "s3://models/2/model.onnx")
    assert tracker.register_model("localization", "s3://models/1/model.onnx") == first
    for version in (first, second):
        tracker.transition_model_stage("localization", version, "Production")
    assert str(client.get_model_version_by_alias("localization", "champion").version) == second
    assert client.get_model_version("localization", first).tags["heimdall.stage"] == "archived"
    tracker.transition_model_stage("localization", second, "None")
    assert client.get_registered_model("localization").aliases == {}
    with pytest.raises(ValueError, match="one of Production"):
        tracker.transition_model_stage("localization", second, "Best")
