"""How the files of a job are called, what they are calibrated with, and how their accuracy is measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.evidence import calibration_features, gather_evidence
from heimdall_core.export.budget import Judge, require_within_budget
from heimdall_core.export.errors import ExportError
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.exporting import file_names
from heimdall_core.networks import LocalizationNet

ORIGIN = (45.0, 8.0)


def test_the_first_file_is_the_model_and_the_others_say_what_they_are() -> None:
    outputs = [
        ExportOutput(precision="int8"),
        ExportOutput(),
        ExportOutput(precision="int8", opset=17),
        ExportOutput(include_frontend=True),
        ExportOutput(opset=17),
        ExportOutput(opset=19),
    ]
    assert file_names(outputs) == [
        "model.onnx",
        "model-fp32.onnx",
        "model-int8.onnx",
        "model-fp32-iq.onnx",
        "model-fp32-2.onnx",
        "model-fp32-3.onnx",
    ]


def test_no_segment_of_a_session_that_was_held_back_calibrates_a_model(
    make_features: Callable[..., Any],
) -> None:
    features = make_features(40)
    owner = np.repeat(np.arange(40), np.diff(features.first_segment))
    marked = np.array(features.inputs)
    marked[:, 0, 0, 0] = owner
    chosen = calibration_features(replace(features, inputs=marked))
    assert set(chosen[:, 0, 0, 0].astype(int)) == set(features.indices("train").tolist())
    np.testing.assert_array_equal(chosen, calibration_features(replace(features, inputs=marked)))


def judge_of(net: LocalizationNet, features: Any) -> Judge:
    """What ``fp16`` is held to; the test split's metrics are those that the evaluation would give."""
    manifest = SimpleNamespace(origin_latitude=ORIGIN[0], origin_longitude=ORIGIN[1])
    metrics = {"median_error_m": 3e4, "nll_per_m2": 23.0}
    if net.components > 1:
        metrics["mixture_nll_per_m2"] = 23.0
    report = SimpleNamespace(metrics=metrics)
    outputs, store = (ExportOutput(precision="fp16"),), cast("Any", None)
    evidence = gather_evidence(outputs, net, features, cast("Any", manifest), cast("Any", report), store)
    assert evidence.judge is not None
    return evidence.judge


@pytest.mark.parametrize("components", [1, 3])
def test_a_file_is_as_accurate_as_the_network_that_it_was_made_of_and_so_are_its_components(
    components: int, make_features: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = LocalizationNet(3, "micro", "full", components=components, origin=ORIGIN)
    features = make_features(30)
    judge = judge_of(net, features)
    found = judge.score(ONNXExporter().export_to_onnx(net, tmp_path / "model.onnx"))
    assert found.keys() == {"val", "test"}
    for name in ("median_error_m", "nll_per_m2", "mixture_nll_per_m2"):
        expected = getattr(judge.reference["val"], name)
        assert (expected is None) == (name == "mixture_nll_per_m2" and components == 1)
        assert getattr(found["val"], name) == (
            expected if expected is None else pytest.approx(expected, rel=1e-4)
        )


@pytest.mark.parametrize("change", [0.01, float("nan"), None])
def test_components_worse_than_the_budget_allows_are_refused_though_the_moments_are_as_good(
    change: float | None, make_features: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = LocalizationNet(3, "micro", "full", components=2, origin=ORIGIN)
    judge = judge_of(net, make_features(20))
    worse = {
        split: replace(
            accuracy,
            mixture_nll_per_m2=None
            if change is None or accuracy.mixture_nll_per_m2 is None
            else accuracy.mixture_nll_per_m2 + change,
        )
        for split, accuracy in judge.reference.items()
    }
    with pytest.raises(ExportError) as raised:
        require_within_budget(
            tmp_path / "model.onnx", "fp16", Judge(reference=judge.reference, score=lambda _: worse)
        )
    assert raised.value.stable_code == "export_budget"
