"""How the files of a job are called, and what they are calibrated with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.evidence import calibration_features
from heimdall_core.exporting import file_names


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
