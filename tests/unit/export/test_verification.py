"""A file that fails any check is not published: there is no file, and nothing was uploaded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export import exporter as exporter_module
from heimdall_core.export.errors import ExportError
from heimdall_core.export.exporter import ONNXExporter, export_and_register_model
from heimdall_core.export.metadata import ModelFacts
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
    import copy

    import torch

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
