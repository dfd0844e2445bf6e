"""A file that fails any check is not published: there is no file, and nothing was uploaded."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export import exporter as exporter_module
from heimdall_core.export.errors import ExportError
from heimdall_core.export.exporter import ONNXExporter, export_and_register_model
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.parity import Feeds, compare, network_reference, random_features
from heimdall_core.export.verification import Evidence, verify
from heimdall_core.networks import LocalizationNet
from heimdall_core.storage import FolderStore

FP32, FP16 = ExportOutput(), ExportOutput(precision="fp16")
INT8 = ExportOutput(precision="int8")
Tampering = Callable[[onnx.ModelProto], None]


def a_wrong_weight(model: onnx.ModelProto) -> None:
    _change(model, "position_head.bias", lambda values: values + 1e-3)


def a_weight_that_is_no_number(model: onnx.ModelProto) -> None:
    _change(model, "uncertainty_head.bias", lambda values: np.full_like(values, np.nan))


def a_lost_output(model: onnx.ModelProto) -> None:
    del model.graph.output[-1]


def a_fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def an_output_of_another_shape(model: onnx.ModelProto) -> None:
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 3


def an_output_of_another_name(model: onnx.ModelProto) -> None:
    old = model.graph.output[0].name
    model.graph.output[0].name = "places"
    for node in model.graph.node:
        node.output[:] = ["places" if name == old else name for name in node.output]


def a_node_that_is_no_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "Guess"


def another_models_metadata(model: onnx.ModelProto) -> None:
    next(p for p in model.metadata_props if p.key == "heimdall.dataset_digest").value = '"another"'


def lost_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def another_precision_stated(model: onnx.ModelProto) -> None:
    next(p for p in model.metadata_props if p.key == "heimdall.precision").value = '"int8"'


def another_unit_stated(model: onnx.ModelProto) -> None:
    outputs = next(p for p in model.metadata_props if p.key == "heimdall.outputs")
    outputs.value = outputs.value.replace("metres", "feet")


def receivers_in_another_order(model: onnx.ModelProto) -> None:
    receivers = next(p for p in model.metadata_props if p.key == "heimdall.receivers")
    receivers.value = json.dumps(json.loads(receivers.value)[::-1])


def a_claim_that_nobody_made(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="heimdall.approved_by", value='"somebody"')


def _change(model: onnx.ModelProto, name: str, change: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


@pytest.fixture(scope="module")
def sound(
    tmp_path_factory: pytest.TempPathFactory, net: LocalizationNet, facts: ModelFacts, features: np.ndarray
) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("sound") / "model.onnx"
    ONNXExporter().export_verified(net, path, facts=facts, features=features)
    return onnx.load(path)


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (a_wrong_weight, "export_parity"),
        (a_weight_that_is_no_number, "export_parity"),
        (a_lost_output, "export_contract"),
        (a_fixed_batch, "export_contract"),
        (an_output_of_another_shape, "export_invalid"),
        (an_output_of_another_name, "export_contract"),
        (a_node_that_is_no_operator, "export_invalid"),
        (another_models_metadata, "export_metadata"),
        (lost_metadata, "export_metadata"),
        (another_precision_stated, "export_metadata"),
        (another_unit_stated, "export_metadata"),
        (receivers_in_another_order, "export_metadata"),
        (a_claim_that_nobody_made, "export_metadata"),
    ],
)
def test_a_tampered_file_fails(
    tamper: Tampering,
    code: str,
    sound: onnx.ModelProto,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    tmp_path: Path,
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(sound)
    tamper(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ExportError) as raised:
        verify(net, tmp_path / "model.onnx", output=FP32, facts=facts, features=features, evidence=Evidence())
    assert raised.value.stable_code == code


@pytest.mark.parametrize("tamper", [a_wrong_weight, a_lost_output, a_weight_that_is_no_number])
def test_what_fails_leaves_no_file_and_uploads_nothing(
    tamper: Tampering,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    folder_store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = exporter_module.write_graph

    def tampered(net: Any, path: Path, **options: Any) -> None:
        trace(net, path, **options)
        model = onnx.load(path)
        tamper(model)
        onnx.save(model, path)

    monkeypatch.setattr(exporter_module, "write_graph", tampered)
    work = tmp_path / "work"
    with pytest.raises(ExportError):
        export_and_register_model(
            ONNXExporter(folder_store),
            net,
            work / "model.onnx",
            facts=facts,
            features=features,
            bucket_name="models",
            object_name="model.onnx",
        )
    assert list(work.iterdir()) == []
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"median_error_m": 1006.0},
        {"nll_per_m2": 15.006},
        {"median_error_m": float("nan")},
        {"nll_per_m2": float("-inf")},
    ],
)
def test_a_lower_precision_beyond_its_budget_fails(
    changes: dict[str, float],
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    finding: Any,
    tmp_path: Path,
) -> None:
    worse = replace(evidence, judge=finding(**changes))
    with pytest.raises(ExportError, match="on the test split the fp16 model") as raised:
        ONNXExporter().export_verified(
            net, tmp_path / "model.onnx", facts=facts, features=features, output=FP16, evidence=worse
        )
    assert raised.value.stable_code == "export_budget"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "lacking"),
    [(INT8, "judge"), (INT8, "calibration"), (ExportOutput(include_frontend=True), "iq")],
)
def test_what_cannot_be_verified_fails(
    output: ExportOutput,
    lacking: str,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
) -> None:
    with pytest.raises(ExportError) as raised:
        ONNXExporter().export_verified(
            net,
            tmp_path / "model.onnx",
            facts=facts,
            features=features,
            output=output,
            evidence=replace(evidence, **{lacking: None}),
        )
    assert raised.value.stable_code == "export_unverified"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", [FP32, FP16])
def test_a_model_that_was_tried_on_no_recorded_features_fails(
    output: ExportOutput,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
) -> None:
    with pytest.raises(ExportError, match="no features") as raised:
        ONNXExporter().export_verified(
            net,
            tmp_path / "model.onnx",
            facts=facts,
            features=features[:0],
            output=output,
            evidence=evidence,
        )
    assert raised.value.stable_code == "export_unverified"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "output",
    [
        ExportOutput(opset=16),
        ExportOutput(opset=24),
        ExportOutput(opset=21, precision="int8"),
        ExportOutput(opset=21, include_frontend=True),
    ],
)
def test_an_opset_that_cannot_be_written_is_refused_before_anything_is(
    output: ExportOutput,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ExportError, match=f"opset {output.opset}") as raised:
        ONNXExporter().export_verified(
            net, tmp_path / "model.onnx", facts=facts, features=features, output=output, evidence=evidence
        )
    assert raised.value.stable_code == "export_opset"
    assert "18" in str(raised.value.hint)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ExportError):
        ONNXExporter().export_to_onnx(net, tmp_path / "model.onnx", 7)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_calibrate_nothing(
    value: float,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
) -> None:
    broken = features.copy()
    broken[0, 0, 3, 3] = value
    with pytest.raises(ExportError, match="calibrated") as raised:
        ONNXExporter().export_verified(
            net,
            tmp_path / "model.onnx",
            facts=facts,
            features=features,
            output=INT8,
            evidence=replace(evidence, calibration=broken),
        )
    assert raised.value.stable_code == "export_precision"


def test_features_that_are_no_numbers_verify_nothing(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, tmp_path: Path
) -> None:
    broken = features.copy()
    broken[0, 0, 3, 3] = np.nan
    with pytest.raises(ExportError, match="the network itself") as raised:
        ONNXExporter().export_verified(net, tmp_path / "model.onnx", facts=facts, features=broken)
    assert raised.value.stable_code == "export_parity"
    assert list(tmp_path.iterdir()) == []


def test_an_activation_too_large_for_half_precision_is_refused_with_the_remedy(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, evidence: Evidence, tmp_path: Path
) -> None:
    hot = copy.deepcopy(net)
    with torch.no_grad():
        hot.backbone.layernorm.weight.fill_(5e4)
    with pytest.raises(ExportError) as raised:
        ONNXExporter().export_verified(
            hot, tmp_path / "model.onnx", facts=facts, features=features, output=FP16, evidence=evidence
        )
    assert raised.value.stable_code == "export_parity"
    assert "float16" in str(raised.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_the_made_up_features_hold_absent_receivers_and_a_sample_that_nobody_heard(
    features: np.ndarray,
) -> None:
    made_up = random_features(features, 16)
    is_there = made_up.any(axis=(2, 3))
    assert not is_there[0].any()
    assert is_there[1:].any()
    assert not is_there[1:].all()


def test_both_sides_of_the_antimeridian_are_one_place(features: np.ndarray, tmp_path: Path) -> None:
    net = LocalizationNet(3, "micro", "full", origin=(45.0, 180.0)).eval()
    with torch.no_grad():
        net.position_head.weight.zero_()
        net.position_head.bias.zero_()
    ONNXExporter().export_to_onnx(net, tmp_path / "model.onnx")

    def from_the_other_side(feeds: Feeds) -> list[np.ndarray]:
        positions, *rest = network_reference(net)(feeds)
        assert np.abs(positions[:, 1]).min() == 180.0
        return [positions * np.array([1.0, -1.0], np.float32), *rest]

    found = compare(from_the_other_side, tmp_path / "model.onnx", {"features": features}, net, tolerance=1e-5)
    assert found.mean_difference < 1e-5


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_lower_precision_within_its_budget_says_what_it_costs(
    precision: Any,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    finding: Any,
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.onnx"
    verification = (
        ONNXExporter()
        .export_verified(
            net,
            path,
            facts=facts,
            features=features,
            output=ExportOutput(precision=precision),
            evidence=replace(evidence, judge=finding(median_error_m=1004.0, nll_per_m2=15.004)),
        )
        .to_dict()
    )
    assert verification["passed"] is True
    assert verification["median_error_change"] == pytest.approx(0.004)
    assert verification["nll_change"] == pytest.approx(0.004)
    assert verification["budget"]["nll"] >= 0.005
    assert 0 < verification["mean_difference"] < verification["tolerance"]
    assert verification["num_bytes"] == path.stat().st_size
    model = onnx.load(path)
    edges = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.elem_type for value in edges} == {TensorProto.FLOAT}
    wanted = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.INT8
    small = {t.name for t in model.graph.initializer if t.data_type == wanted and len(t.dims) > 1}
    whole = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) > 1}
    assert small
    assert not any(name.startswith(("levels", "trunk", "position_head", "to_degrees")) for name in small)
    assert any(name.startswith("levels") for name in whole)


def test_a_backbone_too_large_for_half_precision_is_refused(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, evidence: Evidence, tmp_path: Path
) -> None:
    large = copy.deepcopy(net)
    with torch.no_grad():
        large.backbone.embeddings.patch_embeddings.bias[0] = 1e5
    with pytest.raises(ExportError) as raised:
        ONNXExporter().export_verified(
            large,
            tmp_path / "model.onnx",
            facts=facts,
            features=features,
            output=ExportOutput(precision="fp16"),
            evidence=evidence,
        )
    assert raised.value.stable_code == "export_precision"
    assert list(tmp_path.iterdir()) == []
