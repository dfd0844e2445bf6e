"""A training whose network is fused with the radio map of its training split, from the first step to the file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportOutput,
    ExportSpec,
    ModelSpec,
    RadioMapSpec,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.model_evaluation import ModelEvaluation
from heimdall_core.pipeline import TrainingPipeline
from heimdall_core.storage import FolderStore
from heimdall_core.training import fusion, radio_map
from tests.unit.pipelines import pipeline_maker

OUTPUTS = (
    ExportOutput(),
    ExportOutput(precision="fp16"),
    ExportOutput(precision="int8", include_frontend=True),
)
SPEC = TrainJobSpec(
    kind="train",
    dataset=DatasetRef(name="tiny", version=1),
    model=ModelSpec(backbone="micro", covariance="full", point_estimate="median"),
    training=TrainingSpec(
        epochs=2,
        batch_size=8,
        early_stopping_patience=None,
        radio_map=RadioMapSpec(reach_m=10_000.0, fuse=True),
    ),
    resources=ResourcesSpec(accelerator="cpu"),
    export=ExportSpec(outputs=OUTPUTS),
)

EXPONENT = 0.3


@pytest.fixture(scope="module", autouse=True)
def _a_map_of_a_few_sessions_that_is_always_worth_it() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(radio_map, "_FEWEST_HEARD", 5)
        patch.setattr(fusion, "_EXPONENTS", (EXPONENT,))
        gains = iter([1.0, 0.0] * 10)
        patch.setattr(fusion, "_likelihood", lambda *_: next(gains))
        yield


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


def test_the_job_says_that_and_how_far_it_was_fused(finished: Any) -> None:
    reporter, result, _ = finished
    assert result["fusion_exponent"] == EXPONENT
    (told,) = [data for name, data in reporter.events if name == "radio_map_fused"]
    assert told["exponent"] == EXPONENT
    assert told["num_cells"] > 20


def test_every_file_is_verified_against_the_fused_network(finished: Any) -> None:
    _, result, _ = finished
    assert [export["precision"] for export in result["exports"]] == ["fp32", "fp16", "int8"]
    assert all(export["verification"]["passed"] for export in result["exports"])


def test_the_served_file_answers_as_the_network_did_in_the_evaluation(
    finished: Any, tiny_dataset: Any, reporter: Any, tmp_path: Path
) -> None:
    root, manifest = tiny_dataset
    served = ModelEvaluation(
        onnx_path=finished[2] / "model.onnx",
        manifest=manifest,
        split="test",
        trained_on=manifest,
        store=FolderStore(root),
        reporter=reporter,
        output_uri="s3://models/jobs/job_20/a1",
        workspace=tmp_path,
        cache_dir=tmp_path / "cache",
    ).run()
    assert served["metrics"] == pytest.approx(finished[1]["metrics"], rel=1e-3)


def test_the_answer_of_the_file_depends_on_the_map(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any, tmp_path: Path
) -> None:
    plain = replace(
        SPEC,
        model=replace(SPEC.model, point_estimate="mean"),
        training=replace(SPEC.training, radio_map=RadioMapSpec(reach_m=10_000.0)),
    )
    make_pipeline(reporter, spec=plain, workspace=tmp_path, output_uri="s3://models/jobs/job_2/a1").run()
    inputs = np.random.default_rng(0).normal(size=(2, 7, 128, 32)).astype(np.float32)
    inputs[:, :, 123] = 1.0
    fused, own = (
        ort.InferenceSession(str(folder / "model.onnx")).run(["positions"], {"features": inputs})[0]
        for folder in (finished[2], tmp_path)
    )
    assert np.abs(fused - own).max() > 1e-3


def test_exported_again_the_network_is_fused_as_it_was(
    finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any
) -> None:
    pipeline = make_pipeline(reporter, output_uri="s3://models/jobs/job_3/a1")
    again = pipeline.run_export_only(finished[2] / "best.ckpt")
    assert again["metrics"] == finished[1]["metrics"]
    assert again["fusion_exponent"] == EXPONENT


@pytest.mark.parametrize(
    "other",
    [
        {"radio_map": None},
        {"radio_map": RadioMapSpec(reach_m=10_000.0)},
        {"radio_map": RadioMapSpec(reach_m=5_000.0, fuse=True)},
        {"seed": 7},
    ],
)
def test_weights_that_were_fused_are_not_exported_with_another_map(
    other: dict[str, Any], finished: Any, make_pipeline: Callable[..., TrainingPipeline], reporter: Any
) -> None:
    spec = replace(SPEC, training=replace(SPEC.training, **other))
    pipeline = make_pipeline(reporter, spec=spec, output_uri="s3://models/jobs/job_4/a1")
    with pytest.raises(DataError, match="fused with a radio map") as refusal:
        pipeline.run_export_only(finished[2] / "best.ckpt")
    assert refusal.value.stable_code == "checkpoint_of_other_network"
    assert not reporter.artifacts


def test_a_fused_network_leaves_no_template_behind(
    make_pipeline: Callable[..., TrainingPipeline], make_reporter: Any, finished: Any, tmp_path: Path
) -> None:
    pipeline = make_pipeline(make_reporter(), cache_dir=tmp_path, output_uri="s3://models/jobs/job_5/a1")
    pipeline.run_export_only(finished[2] / "best.ckpt")
    assert not (tmp_path / "graphs").exists()
