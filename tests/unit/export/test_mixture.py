"""A mixture of Gaussians leaves the graph with its moments first, and its components after them."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export.errors import ExportError
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.export.metadata import ModelFacts, Precision, read_facts
from heimdall_core.export.verification import Evidence, verify
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.fusion import RadioFusion
from heimdall_core.prediction import to_predictions

MOMENTS = ["positions", "uncertainties", "correlation"]
COMPONENTS = [
    "component_weights",
    "component_positions",
    "component_uncertainties",
    "component_correlations",
]


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
    mixture: LocalizationNet,
    mixture_facts: ModelFacts,
    features: np.ndarray,
) -> Path:
    path = tmp_path_factory.mktemp("mixture") / "model.onnx"
    ONNXExporter().export_verified(mixture, path, facts=mixture_facts, features=features)
    return path


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_onnx_runtime_gives_moments_and_components_for_any_batch(
    batch_size: int, exported: Path, mixture: LocalizationNet, features: np.ndarray
) -> None:
    session, batch = ort.InferenceSession(str(exported)), features[:batch_size]
    outputs = session.run(None, {"features": batch})
    with torch.no_grad():
        expected = mixture(torch.from_numpy(batch))
    assert [output.name for output in session.get_outputs()] == MOMENTS + COMPONENTS
    assert [o.shape[1:] for o in outputs] == [(2,), (2,), (1,), (3,), (3, 2), (3, 2), (3,)]
    for found, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs[3].sum(axis=1), 1.0, atol=1e-6)


def test_the_file_says_how_many_components_there_are_and_in_which_units(
    exported: Path, mixture_facts: ModelFacts
) -> None:
    properties = ort.InferenceSession(str(exported)).get_modelmeta().custom_metadata_map
    assert read_facts(properties) == mixture_facts
    assert json.loads(properties["heimdall.components"]) == 3
    outputs = json.loads(properties["heimdall.outputs"])
    assert outputs.keys() == {*MOMENTS, *COMPONENTS}
    assert "metres" in outputs["component_uncertainties"]
    assert "degrees" in outputs["component_positions"]


def test_the_file_of_a_gaussian_says_nothing_of_components(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, tmp_path: Path
) -> None:
    ONNXExporter().export_verified(net, tmp_path / "model.onnx", facts=facts, features=features)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"))
    properties = session.get_modelmeta().custom_metadata_map
    assert [output.name for output in session.get_outputs()] == MOMENTS
    assert "heimdall.components" not in properties
    assert read_facts(properties).components == 1


def _other_bias(name: str) -> Any:
    def tamper(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == f"{name}.bias")
        values = numpy_helper.to_array(tensor)[::-1].copy()
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return tamper


def _a_lost_component_output(model: onnx.ModelProto) -> None:
    del model.graph.output[4]


def _another_number_stated(model: onnx.ModelProto) -> None:
    next(p for p in model.metadata_props if p.key == "heimdall.components").value = "2"


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (_other_bias("weight_head"), "export_parity"),
        (_other_bias("position_head"), "export_parity"),
        (_a_lost_component_output, "export_contract"),
        (_another_number_stated, "export_metadata"),
    ],
)
def test_a_tampered_mixture_fails(
    tamper: Any,
    code: str,
    exported: Path,
    mixture: LocalizationNet,
    mixture_facts: ModelFacts,
    features: np.ndarray,
    tmp_path: Path,
) -> None:
    model = onnx.load(exported)
    tamper(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError) as raised:
        verify(
            mixture,
            tmp_path / "model.onnx",
            output=ExportOutput(),
            facts=mixture_facts,
            features=features,
            evidence=Evidence(),
        )
    assert raised.value.stable_code == code


def test_components_that_changed_places_are_found_though_the_moments_are_the_same(
    exported: Path, mixture: LocalizationNet, mixture_facts: ModelFacts, features: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(exported)
    for name, width in (("position_head", 2), ("uncertainty_head", 3), ("weight_head", 1)):
        for tensor in model.graph.initializer:
            if tensor.name in {f"{name}.weight", f"{name}.bias"}:
                values = numpy_helper.to_array(tensor)
                turned = np.roll(values.reshape(3, width, *values.shape[1:]), 1, axis=0).reshape(values.shape)
                tensor.CopyFrom(numpy_helper.from_array(turned.copy(), tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=r"component_\w+") as raised:
        verify(
            mixture,
            tmp_path / "model.onnx",
            output=ExportOutput(),
            facts=mixture_facts,
            features=features,
            evidence=Evidence(),
        )
    assert raised.value.stable_code == "export_parity"


@pytest.mark.parametrize(
    "output",
    [
        ExportOutput(precision="fp16"),
        ExportOutput(precision="int8"),
        ExportOutput(include_frontend=True),
    ],
)
def test_every_kind_of_file_can_hold_a_mixture(
    output: ExportOutput,
    mixture: LocalizationNet,
    mixture_facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.onnx"
    found = ONNXExporter().export_verified(
        mixture, path, facts=mixture_facts, features=features, output=output, evidence=evidence
    )
    assert found.parity.mean_difference < found.parity.tolerance
    session = ort.InferenceSession(str(path))
    assert [value.name for value in session.get_outputs()] == MOMENTS + COMPONENTS
    assert read_facts(session.get_modelmeta().custom_metadata_map) == replace(mixture_facts)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_answers_with_the_geometric_median(
    precision: Precision,
    mixture: LocalizationNet,
    mixture_facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
) -> None:
    net, facts = copy.deepcopy(mixture), replace(mixture_facts, point_estimate="median")
    net.point_estimate = "median"
    path, output = tmp_path / "model.onnx", ExportOutput(precision=precision)
    ONNXExporter().export_verified(
        net, path, facts=facts, features=features, output=output, evidence=evidence
    )
    session = ort.InferenceSession(str(path))
    found = session.run(["positions"], {"features": features})[0]
    with torch.no_grad():
        median, mean = (made(torch.from_numpy(features))[0].numpy() for made in (net, mixture))
    assert np.abs(found - median).max() < 0.2 * np.abs(median - mean).min()
    assert read_facts(session.get_modelmeta().custom_metadata_map).point_estimate == "median"


def test_a_session_is_predicted_by_the_gaussian_of_the_moments(
    exported: Path, mixture: LocalizationNet, features: np.ndarray
) -> None:
    outputs = ort.InferenceSession(str(exported)).run(None, {"features": features[:1]})
    found = to_predictions([outputs])
    with torch.no_grad():
        plane = mixture.plane(torch.from_numpy(features[:1]))
    assert plane.correlation is not None
    np.testing.assert_allclose([found.sigma_east_m[0], found.sigma_north_m[0]], outputs[1][0], rtol=1e-6)
    np.testing.assert_allclose(found.sigma_east_m[0], 1e3 * plane.sigma_km[0, 0].item(), rtol=1e-4)
    np.testing.assert_allclose(found.correlation[0], plane.correlation[0, 0].item(), atol=1e-4)
    np.testing.assert_allclose([found.latitude[0], found.longitude[0]], outputs[0][0], rtol=1e-7)


@pytest.mark.parametrize("opset", [17, 23])
def test_a_fused_network_that_answers_with_the_median_can_be_written_in_every_way(
    opset: int, net: LocalizationNet, facts: ModelFacts, features: np.ndarray, tmp_path: Path
) -> None:
    fused, cells = copy.deepcopy(net), torch.cartesian_prod(torch.arange(-50.0, 50.0, 5.0), torch.arange(9.0))
    level = torch.stack([30.0 - 0.2 * cells[:, 0], 20.0 - cells[:, 1], 0.3 * cells.sum(1)])
    fused.fuse(
        RadioFusion(
            cells_km=cells,
            cell_km=2.0,
            mean_db=level,
            sigma_db=torch.full_like(level, 6.0),
            exponent=0.3,
            stretch=1.1,
        )
    )
    fused.point_estimate = "median"
    path, told = tmp_path / "model.onnx", replace(facts, point_estimate="median")
    output = ExportOutput(opset=opset)
    ONNXExporter().export_verified(fused, path, facts=told, features=features, output=output)
    session = ort.InferenceSession(str(path))
    for batch in (features[:1], features[:7]):
        with torch.no_grad():
            wanted = fused(torch.from_numpy(batch))
        for found, expected in zip(session.run(None, {"features": batch}), wanted, strict=True):
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
