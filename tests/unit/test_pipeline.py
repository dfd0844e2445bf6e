"""From a frozen manifest and IQ in a store to a verified model, its evaluation and its provenance."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from heimdall_core.domain.errors import DataError, StorageUnavailable
from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportOutput,
    ExportSpec,
    ModelSpec,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.export.budget import BUDGETS
from heimdall_core.model_evaluation import ModelEvaluation
from heimdall_core.pipeline import TrainingPipeline
from heimdall_core.prediction import predict_sessions
from heimdall_core.recordings.reading import InputFile, read_sessions
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.storage import FolderStore
from heimdall_core.tracking import TrackingTarget
from tests.unit.pipelines import pipeline_maker

pytestmark = pytest.mark.slow

SPEC = TrainJobSpec(
    kind="train",
    dataset=DatasetRef(name="tiny", version=1),
    model=ModelSpec(backbone="micro", covariance="full"),
    training=TrainingSpec(epochs=2, batch_size=8, early_stopping_patience=None),
    resources=ResourcesSpec(accelerator="cpu"),
)


@pytest.fixture(scope="module")
def make_pipeline(
    tiny_dataset: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., TrainingPipeline]:
    return pipeline_maker(SPEC, tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def finished(
    make_pipeline: Callable[..., TrainingPipeline],
    make_reporter: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, dict[str, Any], Path]:
    """The reporter, the result and the workspace of one whole run."""
    reporter, workspace = make_reporter(), tmp_path_factory.mktemp("finished")
    return reporter, make_pipeline(reporter, workspace=workspace).run(), workspace


def test_the_phases_come_in_order_and_the_percentage_ends_at_a_hundred(finished: Any) -> None:
    reporter, _, _ = finished
    assert reporter.phases == list(JobPhase)
    percents = [p.percent for p in reporter.progresses]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0


def test_the_result_is_plain_json_with_metrics_and_provenance(finished: Any, tiny_dataset: Any) -> None:
    _, result, _ = finished
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["metrics"]["median_error_m"] > 0
    assert result["coverage"].keys() >= {"coverage_50", "coverage_68", "coverage_90", "coverage_95"}
    assert {"train_mean", "knn"} <= result["baselines"].keys()
    assert result["dataset_digest"] == tiny_dataset[1].digest()
    assert result["dataset"]["num_sessions"] == {"train": 18, "val": 6, "test": 6}
    assert result["onnx_parity"]["mean_difference"] < 1e-5
    (export,) = result["exports"]
    assert (export["name"], export["precision"], export["opset"]) == ("model.onnx", "fp32", 18)
    assert {k: export[k] for k in ("uri", "sha256", "bytes")} == result["onnx"]
    assert export["verification"] == result["verification"]
    assert result["verification"]["passed"] is True
    assert result["num_parameters"] > 100_000
    assert result["receivers"] == [receiver.name for receiver in tiny_dataset[1].receivers]
    assert (result["backbone"], result["covariance"], result["components"]) == ("micro", "full", 1)
    assert result["best_epoch"] in {1, 2}
    assert result["mlflow_run_id"] is None


def test_every_artifact_is_in_the_store_with_its_checksum(finished: Any, tiny_dataset: Any) -> None:
    reporter, result, _ = finished
    store = FolderStore(tiny_dataset[0])
    named = {a.name: a for a in reporter.artifacts}
    assert named.keys() >= {"model.onnx", "model.onnx.sha256", "report.json", "manifest.json", "best.ckpt"}
    assert [a.name for a in reporter.artifacts if a.kind == "plot"]
    assert result["onnx"]["sha256"] == named["model.onnx"].object.sha256
    checksum = store.get_bytes(named["model.onnx.sha256"].object.uri).decode()
    assert checksum.split() == [result["onnx"]["sha256"], "model.onnx"]
    manifest = json.loads(store.get_bytes(named["manifest.json"].object.uri))
    assert manifest["artifacts"].keys() == named.keys() - {"manifest.json"}
    assert manifest["dataset"]["digest"] == result["dataset_digest"]
    assert manifest["spec"]["training"]["epochs"] == 2
    assert manifest["versions"].keys() >= {"python", "torch", "lightning", "onnxruntime"}


def test_every_session_has_a_residual_and_every_receiver_an_ablation(
    finished: Any, tiny_dataset: Any
) -> None:
    reporter, result, _ = finished
    root, manifest = tiny_dataset
    named = {a.name: a for a in reporter.artifacts}
    residuals = json.loads(FolderStore(root).get_bytes(named["residuals.json"].object.uri))
    rows = {row["session_id"]: row for row in residuals["sessions"]}
    assert rows.keys() == {session.id for session in manifest.sessions}
    assert all(rows[s.id]["trained_on"] == (s.split == "train") for s in manifest.sessions)
    errors = [row["error_m"] for row in rows.values() if row["split"] == "test"]
    assert np.mean(errors) == pytest.approx(result["metrics"]["mean_error_m"], abs=0.1)
    removed = result["report"]["by_receiver_removed"]
    assert [r["receiver"] for r in removed] == [r.name for r in manifest.receivers]
    assert all(np.isfinite(r["change"]["nll_per_m2"]) for r in removed)
    calibration = result["report"]["calibration"]
    assert calibration["sigma_scale"] == pytest.approx(result["calibration_scale"])
    assert calibration["effects"].keys() == {"val", "test"}


def test_the_exported_model_is_the_best_epoch_calibrated(finished: Any) -> None:
    _, result, workspace = finished
    best = torch.load(workspace / "best.ckpt", weights_only=True)
    assert best["facts"]["epoch"] == result["best_epoch"]
    assert float(best["state_dict"]["calibration_scale"]) == pytest.approx(result["calibration_scale"])
    facts = ort.InferenceSession(str(workspace / "model.onnx")).get_modelmeta().custom_metadata_map
    assert json.loads(facts["heimdall.calibration_scale"]) == pytest.approx(result["calibration_scale"])


def test_predictions_from_recordings_are_those_of_the_evaluation(finished: Any, tiny_dataset: Any) -> None:
    """No skew between training and serving."""
    _, result, workspace = finished
    root, manifest = tiny_dataset
    store = FolderStore(root)
    test_sessions = manifest.of_split("test")
    recorded = []
    for frozen in test_sessions:
        data = store.get_bytes(frozen.recordings[0].uri)
        file = InputFile(name="s.sigmf", read=lambda data=data: data)
        (session,) = read_sessions([file])
        assert isinstance(session, RecordedSession)
        recorded.append(session)
    predictions = predict_sessions(workspace / "model.onnx", recorded)
    from heimdall_core.evaluation.metrics import evaluate

    truth = [s.latitude for s in test_sessions], [s.longitude for s in test_sessions]
    origin = (manifest.origin_latitude, manifest.origin_longitude)
    metrics = evaluate(predictions, *truth, origin)
    for name in ("mean_error_m", "nll_per_m2", "coverage_68"):
        assert metrics[name] == pytest.approx(result["metrics"][name], rel=1e-3)


def test_a_second_job_reuses_the_features_and_repeats_the_result(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any
) -> None:
    _, result, _ = finished
    again = make_pipeline(reporter, output_uri="s3://models/jobs/job_2/a1").run()
    assert reporter.events_named("features_ready")[0]["cached"] is True
    assert again["metrics"] == result["metrics"]


def test_an_empty_split_is_named_before_anything_is_computed(
    make_pipeline: Callable[..., TrainingPipeline], tiny_dataset: Any, reporter: Any
) -> None:
    manifest = tiny_dataset[1]
    sessions = tuple(replace(s, split="train") if s.split == "test" else s for s in manifest.sessions)
    with pytest.raises(DataError, match="'test'") as raised:
        make_pipeline(reporter, manifest=replace(manifest, sessions=sessions)).run()
    assert raised.value.stable_code == "empty_split"
    assert reporter.phases == [JobPhase.PREPARING]


def test_a_stopped_job_goes_on_where_it_was_and_ends_with_the_same_result(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], make_reporter: Any
) -> None:
    _, result, _ = finished
    first, second = make_reporter(stop_at_step=4), make_reporter()
    with pytest.raises(JobStopped):
        make_pipeline(first, output_uri="s3://models/jobs/job_3/a1").run()
    resumed = make_pipeline(
        second, output_uri="s3://models/jobs/job_3/a2", resume_from=first.checkpoints[-1]
    ).run()
    assert second.events_named("resumed")
    assert resumed["metrics"] == result["metrics"]


def test_a_store_that_refuses_the_model_is_an_infrastructure_error_and_the_checkpoint_is_kept(
    make_pipeline: Callable[..., TrainingPipeline],
    make_reporter: Any,
    refusing_store: Any,
    tiny_dataset: Any,
    tmp_path: Path,
) -> None:
    reporter = make_reporter()
    store = type(refusing_store)(tiny_dataset[0], "model.onnx")
    with pytest.raises(StorageUnavailable):
        make_pipeline(reporter, store=store, workspace=tmp_path, output_uri="s3://models/jobs/job_4/a1").run()
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    assert reporter.checkpoints


def test_a_tracking_server_that_is_down_is_told_once_and_changes_nothing(
    finished: Any,
    make_pipeline: Callable[..., TrainingPipeline],
    reporter: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow  # noqa: F401 - seconds that are not the server's

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    target = TrackingTarget(uri="http://127.0.0.1:9", experiment="tests")
    result = make_pipeline(reporter, tracking=target, output_uri="s3://models/jobs/job_5/a1").run()
    assert result["metrics"] == finished[1]["metrics"]
    assert len(reporter.events_named("tracking_unavailable")) == 1


def test_a_job_without_export_has_metrics_and_no_model(
    make_pipeline: Callable[..., TrainingPipeline], reporter: Any
) -> None:
    spec = replace(SPEC, export=ExportSpec(enabled=False))
    result = make_pipeline(reporter, spec=spec, output_uri="s3://models/jobs/job_6/a1").run()
    assert result["onnx"] is None
    assert np.isfinite(result["metrics"]["median_error_m"])
    assert "model.onnx" not in {a.name for a in reporter.artifacts}


def test_exporting_the_best_weights_again_repeats_the_evaluation_with_the_outputs_asked_for(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any
) -> None:
    _, result, workspace = finished
    spec = replace(SPEC, export=ExportSpec(outputs=(ExportOutput(opset=17),)))
    pipeline = make_pipeline(reporter, spec=spec, output_uri="s3://models/jobs/job_7/a1")
    again = pipeline.run_export_only(workspace / "best.ckpt")
    assert again["metrics"] == result["metrics"]
    assert again["calibration_scale"] == result["calibration_scale"]
    assert again["best_epoch"] == result["best_epoch"]
    assert again["onnx_parity"]["mean_difference"] < 1e-5
    assert [a.metadata["opset"] for a in reporter.artifacts if a.name == "model.onnx"] == [17]
    assert JobPhase.TRAINING not in reporter.phases


ALL_OUTPUTS = (
    ExportOutput(),
    ExportOutput(precision="fp16"),
    ExportOutput(precision="int8", include_frontend=True),
    ExportOutput(opset=17),
)


def test_several_outputs_are_verified_and_lie_side_by_side(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any, tiny_dataset: Any
) -> None:
    spec = replace(SPEC, export=ExportSpec(outputs=ALL_OUTPUTS))
    pipeline = make_pipeline(reporter, spec=spec, output_uri="s3://models/jobs/job_12/a1")
    result = pipeline.run_export_only(finished[2] / "best.ckpt")
    names = ["model.onnx", "model-fp16.onnx", "model-int8-iq.onnx", "model-fp32.onnx"]
    assert [export["name"] for export in result["exports"]] == names
    assert all(export["verification"]["passed"] for export in result["exports"])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    store, named = FolderStore(tiny_dataset[0]), {a.name: a for a in reporter.artifacts}
    for export in result["exports"]:
        assert named[export["name"]].object.sha256 == export["sha256"]
        assert (
            store.get_bytes(named[f"{export['name']}.sha256"].object.uri)
            .decode()
            .startswith(export["sha256"])
        )
    half, eight = (export["verification"] for export in result["exports"][1:3])
    assert half["splits"]["test"]["network_median_error_m"] == result["metrics"]["median_error_m"]
    assert half["splits"].keys() == eight["splits"].keys() == {"val", "test"}
    assert eight["front_end"]["mean_difference"] < 1e-5


def test_an_output_that_fails_takes_the_others_with_it(
    finished: Any,
    make_pipeline: Callable[..., TrainingPipeline],
    reporter: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hopeless = replace(BUDGETS["fp16"], median_error_m=-1.0, median_error_share=-1.0)
    monkeypatch.setitem(BUDGETS, "fp16", hopeless)
    spec = replace(SPEC, export=ExportSpec(outputs=ALL_OUTPUTS[:2]))
    pipeline = make_pipeline(reporter, spec=spec, workspace=tmp_path, output_uri="s3://models/jobs/job_13/a1")
    with pytest.raises(DataError) as raised:
        pipeline.run_export_only(finished[2] / "best.ckpt")
    assert raised.value.stable_code == "export_budget"
    assert not reporter.artifacts
    assert not list(tmp_path.glob("*.onnx*"))


def test_a_durable_checkpoint_of_an_unfinished_training_can_be_exported(
    make_pipeline: Callable[..., TrainingPipeline], make_reporter: Any, tiny_dataset: Any, tmp_path: Path
) -> None:
    stopped, reporter = make_reporter(stop_at_step=4), make_reporter()
    with pytest.raises(JobStopped):
        make_pipeline(stopped, output_uri="s3://models/jobs/job_8/a1").run()
    FolderStore(tiny_dataset[0]).get_file(stopped.checkpoints[-1].object.uri, tmp_path / "durable.ckpt")
    result = make_pipeline(reporter, output_uri="s3://models/jobs/job_9/a1").run_export_only(
        tmp_path / "durable.ckpt"
    )
    assert result["onnx"]["sha256"]
    assert np.isfinite(result["metrics"]["median_error_m"])


def test_weights_of_another_network_are_refused_with_what_differs(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any
) -> None:
    spec = replace(SPEC, model=ModelSpec(backbone="micro", covariance="diagonal"))
    pipeline = make_pipeline(reporter, spec=spec, output_uri="s3://models/jobs/job_10/a1")
    with pytest.raises(DataError, match="covariance is full, not diagonal") as raised:
        pipeline.run_export_only(finished[2] / "best.ckpt")
    assert raised.value.stable_code == "checkpoint_of_other_network"
    assert not reporter.artifacts


def test_a_file_that_is_no_checkpoint_is_refused_by_name(
    make_pipeline: Callable[..., TrainingPipeline], reporter: Any, tmp_path: Path
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"holiday\.jpg is not a readable checkpoint"):
        make_pipeline(reporter, output_uri="s3://models/jobs/job_11/a1").run_export_only(path)


def evaluate_as_served(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path, **changes: Any
) -> Any:
    root, manifest = tiny_dataset
    values: dict[str, Any] = {
        "onnx_path": finished[2] / "model.onnx",
        "manifest": manifest,
        "split": "test",
        "trained_on": manifest,
        "store": FolderStore(root),
        "reporter": reporter,
        "output_uri": "s3://models/jobs/job_20/a1",
        "workspace": tmp_path,
        "cache_dir": tmp_path / "cache",
    }
    return ModelEvaluation(**{**values, **changes}).run()


def test_the_served_model_evaluates_as_it_did_after_training(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path
) -> None:
    result = evaluate_as_served(finished, tiny_dataset, reporter, tmp_path)
    assert result["metrics"] == pytest.approx(finished[1]["metrics"], rel=1e-3)
    assert result["baselines"].keys() == finished[1]["baselines"].keys()
    assert result["sessions_trained_on"] == 0
    assert {a.name for a in reporter.artifacts} == {
        "report.json",
        "sessions.json",
        "residuals.json",
        "map.png",
        "error_cdf.png",
        "calibration.png",
        "receivers.png",
    }
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_mixture_is_trained_exported_and_evaluated_as_served(
    make_pipeline: Callable[..., TrainingPipeline], tiny_dataset: Any, make_reporter: Any, tmp_path: Path
) -> None:
    spec = replace(SPEC, model=replace(SPEC.model, components=2, point_estimate="median"))
    workspace = tmp_path / "trained"
    pipeline = make_pipeline(
        make_reporter(), spec=spec, output_uri="s3://models/jobs/job_21/a1", workspace=workspace
    )
    result = pipeline.run()
    assert (result["covariance"], result["components"]) == ("full", 2)
    assert result["point_estimate"] == "median"
    assert np.isfinite(result["metrics"]["mixture_nll_per_m2"])
    assert result["metrics"]["mixture_nll_per_m2"] != result["metrics"]["nll_per_m2"]
    run = (None, result, workspace)
    served = evaluate_as_served(run, tiny_dataset, make_reporter(), tmp_path / "served")
    assert served["metrics"] == pytest.approx(result["metrics"], rel=1e-3)


def test_the_dataset_may_list_its_receivers_in_another_order_from_another_origin(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path
) -> None:
    manifest = tiny_dataset[1]
    other = replace(
        manifest, receivers=manifest.receivers[::-1], origin_latitude=45.5, origin_longitude=7.0, name="other"
    )
    result = evaluate_as_served(finished, tiny_dataset, reporter, tmp_path, manifest=other)
    for name in ("mean_error_m", "nll_per_m2", "coverage_68"):
        assert result["metrics"][name] == pytest.approx(finished[1]["metrics"][name], rel=1e-3)


def test_evaluating_on_sessions_that_were_trained_on_is_said(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path
) -> None:
    result = evaluate_as_served(finished, tiny_dataset, reporter, tmp_path, split="train")
    assert result["sessions_trained_on"] == 18
    assert reporter.events_named("evaluated_on_training_data")[0]["count"] == 18


def test_a_receiver_that_the_model_does_not_know_is_left_out(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path
) -> None:
    manifest = tiny_dataset[1]
    stranger = replace(manifest.receivers[0], name="stranger")
    only = manifest.of_split("test")[0]
    deaf = replace(only, recordings=(replace(only.recordings[0], receiver="stranger"),))
    sessions = tuple(deaf if s.id == only.id else s for s in manifest.sessions)
    other = replace(manifest, receivers=(*manifest.receivers, stranger), sessions=sessions)
    result = evaluate_as_served(finished, tiny_dataset, reporter, tmp_path, manifest=other)
    assert result["sessions_left_out"] == 1
    assert result["report"]["num_sessions"] == 5


def test_a_dataset_of_other_receivers_altogether_is_refused(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path
) -> None:
    manifest = tiny_dataset[1]
    renamed = {r.name: f"other {r.name}" for r in manifest.receivers}
    sessions = tuple(
        replace(s, recordings=tuple(replace(r, receiver=renamed[r.receiver]) for r in s.recordings))
        for s in manifest.sessions
    )
    receivers = tuple(replace(r, name=renamed[r.name]) for r in manifest.receivers)
    other = replace(manifest, receivers=receivers, sessions=sessions)
    with pytest.raises(DataError) as raised:
        evaluate_as_served(finished, tiny_dataset, reporter, tmp_path, manifest=other)
    assert raised.value.stable_code == "no_common_receiver"
