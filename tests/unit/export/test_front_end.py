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
from heimdall_core.export.front_end import features_of, measure_front_end
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
    front_end = verification["front_end"]
    assert front_end["mean_excess"] <= front_end["mean_difference"] < front_end["tolerance"] == 1e-5
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


def strong_carriers(iq: Any, *, floor_dbfs: float = np.nan) -> dict[str, np.ndarray]:
    """Bare carriers 80 dB over the noise: in float32 the bins beside them are known to 3 digits."""
    rng = np.random.default_rng(3)
    shape = iq["iq"].shape
    turns = rng.uniform(-0.3, 0.3, (*shape[:2], 1)) * np.arange(shape[3])
    carrier = 0.5 * np.exp(2j * np.pi * turns)
    parts = np.stack([carrier.real, carrier.imag], axis=2) + 3e-5 * rng.standard_normal(shape)
    return {
        "iq": parts.astype(np.float32),
        "noise_floor_dbfs": np.full(shape[:2], floor_dbfs, np.float32),
        "presence": np.ones(shape[:2], np.float32),
    }


def test_what_a_strong_carrier_costs_python_too_is_no_difference(
    whole: Any, facts: ModelFacts, iq: Any
) -> None:
    found = measure_front_end(onnx.load(whole[0]), strong_carriers(iq), facts)
    assert found.mean_difference > found.tolerance
    assert found.mean_excess < found.tolerance


def test_a_wrong_kernel_is_found_on_strong_carriers_too(whole: Any, facts: ModelFacts, iq: Any) -> None:
    model = onnx.load(whole[0])
    kernels = next(t for t in model.graph.initializer if t.name.endswith("kernels"))
    values = onnx.numpy_helper.to_array(kernels) * np.float32(1.01)
    kernels.CopyFrom(onnx.numpy_helper.from_array(values, kernels.name))
    with pytest.raises(ExportError):
        measure_front_end(model, strong_carriers(iq, floor_dbfs=-88.4), facts)


@pytest.mark.parametrize("presence", [0.0, 1.0])
def test_where_nobody_hears_or_all_hear_nothing_the_graph_says_what_python_says(
    presence: float, whole: Any, facts: ModelFacts, iq: Any
) -> None:
    silent = {name: np.zeros_like(values) for name, values in iq.items()}
    silent["presence"][:], silent["noise_floor_dbfs"][:] = presence, np.nan
    assert measure_front_end(onnx.load(whole[0]), silent, facts).max_difference < 1e-5
    features = features_of(silent, facts.features, facts.receivers, facts.origin)
    assert features.shape == (12, 3, 128, 32)
    assert features.any() == bool(presence)


def test_a_recording_that_is_no_number_is_refused(whole: Any, facts: ModelFacts, iq: Any) -> None:
    broken = {name: values.copy() for name, values in iq.items()}
    broken["presence"][0, 0], broken["iq"][0, 0, 0, 7] = 1.0, np.nan
    with pytest.raises(ExportError) as raised:
        measure_front_end(onnx.load(whole[0]), broken, facts)
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
