"""A graph that was traced once is filled with the next network's weights, and verified all the same."""

import copy
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export import exporter as exporter_module
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.export.graph import evaluation_copy
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.precision import halve_backbone
from heimdall_core.export.templates import GraphTemplates
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


ELSEWHERE = (-33.9, 151.2)


def built(components: int = 1, *, seed: int, origin: tuple[float, float], **options: Any) -> LocalizationNet:
    """A network whose weights, sites, calibration and place are all its own."""
    torch.manual_seed(seed)
    made = LocalizationNet(3, "micro", "full", components=components, origin=origin, **options)
    made.set_calibration(1.0 + seed / 10)
    made.set_sites(torch.rand(3, 3))
    made.levels.translate((float(seed), 0.5))
    return trained(made, seed).eval()


@pytest.mark.parametrize("components", [1, 2])
def test_place_sites_and_calibration_of_a_network_are_filled_in_too(
    components: int, facts: ModelFacts, features: np.ndarray, tmp_path: Path, traces: list[Path]
) -> None:
    templates = tmp_path / "graphs"
    for number, (seed, origin) in enumerate([(1, (44.95, 8.1)), (2, ELSEWHERE)]):
        net = built(components, seed=seed, origin=origin)
        about = replace(facts, components=components, origin=origin)
        exporter, path = ONNXExporter(templates_dir=templates), tmp_path / f"{number}.onnx"
        exporter.export_verified(net, path, facts=about, features=features)
    assert len(traces) == 1
    ONNXExporter().export_verified(net, tmp_path / "fresh.onnx", facts=about, features=features)
    assert path.read_bytes() == (tmp_path / "fresh.onnx").read_bytes()


def test_a_graph_that_holds_what_was_computed_from_weights_becomes_no_template(
    kept: tuple[GraphTemplates, onnx.ModelProto], net: LocalizationNet, tmp_path: Path
) -> None:
    first, graph = trained(net, 1), onnx.ModelProto()
    graph.CopyFrom(kept[1])
    part = (2.0 * first.levels.sites).numpy()
    graph.graph.initializer.append(onnx.numpy_helper.from_array(part, "onnx::Sub_1"))
    GraphTemplates(tmp_path / "graphs").keep(first, ExportOutput(), graph)
    assert not (tmp_path / "graphs").exists()


@pytest.fixture(scope="module")
def kept(
    tmp_path_factory: pytest.TempPathFactory, net: LocalizationNet, facts: ModelFacts, features: np.ndarray
) -> tuple[GraphTemplates, onnx.ModelProto]:
    """A template of ``net`` and the graph that it was made of."""
    folder = tmp_path_factory.mktemp("kept")
    model, path = trained(net, 1), folder / "model.onnx"
    ONNXExporter(templates_dir=folder / "graphs").export_verified(model, path, facts=facts, features=features)
    graph = onnx.load(path)
    del graph.metadata_props[:]
    return GraphTemplates(folder / "graphs"), graph


def test_a_network_of_another_kind_has_a_template_of_its_own(
    kept: tuple[GraphTemplates, onnx.ModelProto], net: LocalizationNet
) -> None:
    templates, output = kept[0], ExportOutput()
    origin: Any = {"origin": (44.95, 8.1)}
    assert templates.fill(trained(net, 2), output) is not None
    others = [
        LocalizationNet(3, "micro", "diagonal", plane_scale_km=50.0, **origin),
        LocalizationNet(3, "micro", "full", components=2, plane_scale_km=50.0, **origin),
        LocalizationNet(3, "micro", "full", plane_scale_km=60.0, **origin),
        LocalizationNet(4, "micro", "full", plane_scale_km=50.0, **origin),
        LocalizationNet(3, "atto", "full", plane_scale_km=50.0, **origin),
        halve_backbone(evaluation_copy(net)),
    ]
    assert [templates.fill(other, output) for other in others] == [None] * len(others)
    for changed in (
        ExportOutput(opset=17),
        ExportOutput(constant_folding=False),
        ExportOutput(precision="fp16"),
    ):
        assert templates.fill(trained(net, 2), changed) is None


def test_the_first_file_of_a_kind_may_be_in_eight_bits(
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
    traces: list[Path],
) -> None:
    exporter = ONNXExporter(templates_dir=tmp_path / "graphs")
    for seed, output in ((1, ExportOutput(precision="int8")), (2, ExportOutput())):
        exporter.export_verified(
            trained(net, seed),
            tmp_path / f"{seed}.onnx",
            facts=facts,
            features=features,
            output=output,
            evidence=evidence,
        )
    assert len(traces) == 1
    assert len(list((tmp_path / "graphs").iterdir())) == 1


def test_a_template_that_only_quantising_finds_damaged_is_replaced(
    net: LocalizationNet,
    facts: ModelFacts,
    features: np.ndarray,
    evidence: Evidence,
    tmp_path: Path,
    traces: list[Path],
) -> None:
    exporter = ONNXExporter(templates_dir=tmp_path / "graphs")
    exporter.export_verified(trained(net, 1), tmp_path / "a.onnx", facts=facts, features=features)
    (template,) = (tmp_path / "graphs").iterdir()
    whole = template.read_bytes()
    model = onnx.load(template)
    next(node for node in model.graph.node if node.op_type == "Softplus").op_type = "Guess"
    onnx.save(model, template)
    exporter.export_verified(
        trained(net, 2),
        tmp_path / "b.onnx",
        facts=facts,
        features=features,
        output=ExportOutput(precision="int8"),
        evidence=evidence,
    )
    assert len(traces) == 2
    assert template.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_no_model(
    net: LocalizationNet, facts: ModelFacts, features: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("no folder")
    exporter = ONNXExporter(templates_dir=tmp_path / "full" / "graphs")
    exporter.export_verified(trained(net, 1), tmp_path / "a.onnx", facts=facts, features=features)
    assert (tmp_path / "a.onnx").is_file()


def test_those_who_write_a_template_at_once_leave_one_that_is_whole(
    kept: tuple[GraphTemplates, onnx.ModelProto], net: LocalizationNet, tmp_path: Path
) -> None:
    shared, first = GraphTemplates(tmp_path / "graphs"), trained(net, 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shared.keep(first, ExportOutput(), kept[1]), range(8)))
    (template,) = (tmp_path / "graphs").iterdir()
    assert template.suffix == ".onnx"
    filled = shared.fill(first, ExportOutput())
    assert filled is not None
    assert filled.graph == kept[1].graph


def test_what_a_killed_writer_left_is_removed_by_a_later_one_and_what_is_being_written_stays(
    kept: tuple[GraphTemplates, onnx.ModelProto], net: LocalizationNet, tmp_path: Path
) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    left, fresh = folder / ".a.0.part", folder / ".b.0.part"
    left.write_bytes(b"half a gr")
    fresh.write_bytes(b"half a gr")
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    GraphTemplates(folder).keep(trained(net, 1), ExportOutput(), kept[1])
    assert not left.exists()
    assert fresh.exists()
    assert GraphTemplates(folder).fill(trained(net, 2), ExportOutput()) is not None
