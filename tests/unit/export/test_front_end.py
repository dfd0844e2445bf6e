"""One graph from IQ to position says what Python's front end and the network say."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export.errors import ExportError
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.export.front_end import measure_front_end
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.sessions import open_session
from heimdall_core.export.verification import Evidence
from heimdall_core.networks import LocalizationNet

OUTPUT = ExportOutput(include_frontend=True)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    iq: Any,
) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("iq") / "model.onnx"
    found = ONNXExporter().export_verified(
        net, path, facts=facts, features=features, output=OUTPUT, evidence=Evidence(iq=iq)
    )
    return path, found.to_dict()


def test_the_verification_measures_the_front_end_and_the_whole(whole: Any) -> None:
    _, verification = whole
    assert verification["front_end"]["mean_difference"] < verification["front_end"]["tolerance"] == 1e-5
    assert verification["mean_difference"] < verification["tolerance"] == 1e-5


@pytest.mark.parametrize("rows", [[0], [3, 1], list(range(12))])
def test_iq_goes_in_and_positions_come_out_for_any_batch(
    rows: list[int], whole: Any, net: LocalizationNet, features: np.ndarray, iq: Any
) -> None:
    session = ort.InferenceSession(str(whole[0]), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {name: values[rows] for name, values in iq.items()})
    with torch.no_grad():
        expected = net(torch.from_numpy(features[rows]))
    np.testing.assert_allclose(outputs[0], expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs[1], expected[1].numpy(), rtol=1e-4)


def test_whatever_stands_in_place_of_an_absent_receiver_changes_nothing(whole: Any, iq: Any) -> None:
    session = ort.InferenceSession(str(whole[0]), providers=["CPUExecutionProvider"])
    absent = iq["presence"] == 0.0
    assert absent.any()
    other = {name: values.copy() for name, values in iq.items()}
    other["iq"][absent], other["noise_floor_dbfs"][absent] = 0.7, np.nan
    np.testing.assert_array_equal(session.run(None, iq)[0], session.run(None, other)[0])


def test_behind_the_front_end_lies_the_model_of_features(whole: Any, features: np.ndarray, iq: Any) -> None:
    behind, session = open_session(whole[0]), open_session(whole[0], as_it_is=True)
    assert [value.name for value in behind.get_inputs()] == ["features"]
    assert "heimdall.receivers" in behind.get_modelmeta().custom_metadata_map
    np.testing.assert_allclose(
        behind.run(None, {"features": features})[0], session.run(None, iq)[0], atol=1e-5
    )


def test_a_front_end_that_differs_from_pythons_is_refused(whole: Any, facts: ModelFacts, iq: Any) -> None:
    model = onnx.load(whole[0])
    kernels = next(t for t in model.graph.initializer if t.name.endswith("kernels"))
    values = onnx.numpy_helper.to_array(kernels) * np.float32(1.001)
    kernels.CopyFrom(onnx.numpy_helper.from_array(values, kernels.name))
    with pytest.raises(ExportError) as raised:
        measure_front_end(model, iq, facts)
    assert raised.value.stable_code == "export_front_end"


def test_the_front_end_goes_before_eight_bits_too(
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.onnx"
    found = ONNXExporter().export_verified(
        net,
        path,
        facts=facts,
        features=features,
        output=ExportOutput(precision="int8", include_frontend=True),
        evidence=evidence,
    )
    assert found.front_end is not None
    assert found.comparison is not None
    assert {n.op_type for n in onnx.load(path).graph.node} >= {"Conv", "QuantizeLinear"}


def test_the_file_says_what_it_takes(whole: Any) -> None:
    about = ONNXExporter().get_model_metadata(whole[0])
    assert list(about["inputs"]) == ["iq", "noise_floor_dbfs", "presence"]
    assert about["include_frontend"] is True
    assert "NaN" in about["inputs"]["noise_floor_dbfs"]
