"""A graph that was traced once is filled with the next network's weights, and verified all the same."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export import exporter as exporter_module
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.verification import Evidence
from heimdall_core.networks import LocalizationNet


def trained(net: LocalizationNet, seed: int) -> LocalizationNet:
    """No two of its weights are equal any more."""
    other = copy.deepcopy(net)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return other


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """One entry for each network that is traced."""
    found: list[Path] = []
    trace = exporter_module.write_graph

    def counted(net: Any, path: Path, **options: Any) -> None:
        found.append(path)
        trace(net, path, **options)

    monkeypatch.setattr(exporter_module, "write_graph", counted)
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_second_network_of_a_kind_is_not_traced_and_says_what_it_should(
    precision: Any,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
    traces: list[Path],
) -> None:
    exporter = ONNXExporter(templates_dir=tmp_path / "graphs")
    output = ExportOutput(precision=precision)
    for seed in (1, 2):
        exporter.export_verified(
            trained(net, seed),
            tmp_path / f"{seed}.onnx",
            facts=facts,
            features=features,
            output=output,
            evidence=evidence,
        )
    assert len(traces) == 1
    fresh = tmp_path / "fresh.onnx"
    ONNXExporter().export_verified(
        trained(net, 2), fresh, facts=facts, features=features, output=output, evidence=evidence
    )
    assert (tmp_path / "2.onnx").read_bytes() == fresh.read_bytes()
    (template,) = (tmp_path / "graphs").iterdir()
    assert template.stat().st_size < fresh.stat().st_size / 4


@pytest.mark.parametrize("damage", [b"", b"not a graph"])
def test_a_damaged_template_is_replaced(
    damage: bytes,
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    tmp_path: Path,
    traces: list[Path],
) -> None:
    exporter = ONNXExporter(templates_dir=tmp_path / "graphs")
    exporter.export_verified(trained(net, 1), tmp_path / "a.onnx", facts=facts, features=features)
    (template,) = (tmp_path / "graphs").iterdir()
    whole = template.read_bytes()
    template.write_bytes(damage)
    exporter.export_verified(trained(net, 2), tmp_path / "b.onnx", facts=facts, features=features)
    assert len(traces) == 2
    assert template.read_bytes() == whole


def test_a_template_whose_graph_fails_its_verification_is_dropped_and_the_network_traced(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, tmp_path: Path, traces: list[Path]
) -> None:
    exporter = ONNXExporter(templates_dir=tmp_path / "graphs")
    exporter.export_verified(trained(net, 1), tmp_path / "a.onnx", facts=facts, features=features)
    (template,) = (tmp_path / "graphs").iterdir()
    model = onnx.load(template)
    wrong = next(node for node in model.graph.node if node.op_type == "Softplus")
    wrong.op_type = "Sigmoid"
    onnx.save(model, template)
    found = exporter.export_verified(trained(net, 2), tmp_path / "b.onnx", facts=facts, features=features)
    assert len(traces) == 2
    assert found.parity.mean_difference < 1e-5
    assert "Sigmoid" not in {node.op_type for node in onnx.load(template).graph.node}


def test_a_graph_in_which_weights_share_a_constant_becomes_no_template(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, tmp_path: Path
) -> None:
    alike = trained(net, 1)
    with torch.no_grad():
        alike.levels.layers[1].layers[0].weight.copy_(alike.levels.layers[2].layers[0].weight)
    ONNXExporter(templates_dir=tmp_path / "graphs").export_verified(
        alike, tmp_path / "a.onnx", facts=facts, features=features
    )
    assert not (tmp_path / "graphs").exists()
