"""Graphs that were exported and verified once, without their weights: the next network of a kind fills them.

Tracing a network takes most of an export's time and gives the same graph for the same architecture. What is
filled is verified as any other file; a template whose file fails is deleted and the network is traced.
"""

import hashlib
import json
import os
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.networks import LocalizationNet

_PREFIX = "heimdall.template."
_TRANSPOSED = ".T"
_PACKAGES = ("torch", "transformers", "onnx", "heimdall-training")
_SOURCES = (
    "heimdall_core.networks.backbone",
    "heimdall_core.networks.heads",
    "heimdall_core.networks.levels",
    "heimdall_core.networks.localization",
    "heimdall_core.networks.projection",
    "heimdall_core.features.rows",
    "heimdall_core.export.graph",
    "heimdall_core.export.precision",
    "heimdall_core.export.templates",
)
"""Whose text decides what a graph looks like."""


class GraphTemplates:
    """Templates in a folder that the jobs of a host share; it may be deleted at any time.

    Args:
        folder: made where it is missing; None: there are no templates.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def fill(self, net: LocalizationNet, output: ExportOutput) -> onnx.ModelProto | None:
        """The graph of ``net``; None: no template fits it."""
        path = self._path(net, output)
        if path is None or not path.is_file():
            return None
        try:
            model = onnx.load(path)
            sources = {p.key.removeprefix(_PREFIX): p.value for p in model.metadata_props}
            tensors = _tensors(net)
            for constant in model.graph.initializer:
                if constant.name in sources:
                    _fill(constant, tensors, sources[constant.name])
        except Exception:  # noqa: BLE001 - whatever is wrong with the file, the network can be traced
            path.unlink(missing_ok=True)
            return None
        del model.metadata_props[:]
        return model

    def keep(self, net: LocalizationNet, output: ExportOutput, model: onnx.ModelProto) -> None:
        """Keeps a verified graph, unless some weight of the network cannot be found in it."""
        path = self._path(net, output)
        if path is None or path.is_file():
            return
        found = _find_sources(net, model)
        if found is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        onnx.save(_emptied(model, found), part)
        part.replace(path)

    def drop(self, net: LocalizationNet, output: ExportOutput) -> bool:
        """Forgets the template; whether there was one."""
        path = self._path(net, output)
        if path is None or not path.is_file():
            return False
        path.unlink(missing_ok=True)
        return True

    def _path(self, net: LocalizationNet, output: ExportOutput) -> Path | None:
        if self._folder is None:
            return None
        shapes = {name: [list(t.shape), str(t.dtype)] for name, t in net.state_dict().items()}
        kind = {
            "shapes": shapes,
            "plane_scale_km": net.plane_scale_km,
            "opset": output.opset,
            "constant_folding": output.constant_folding,
            "half": output.precision == "fp16",
            "code": _code_digest(),
        }
        digest = hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.onnx"


@cache
def _code_digest() -> str:
    digest = hashlib.sha256(json.dumps([version(name) for name in _PACKAGES]).encode())
    for name in _SOURCES:
        digest.update(Path(str(import_module(name).__file__)).read_bytes())
    return digest.hexdigest()


def _tensors(net: LocalizationNet) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in net.state_dict().items()}


def _fill(constant: TensorProto, tensors: dict[str, torch.Tensor], source: str) -> None:
    values = _values(tensors, source)
    if list(values.shape) != list(constant.dims) or _type_of(values) != constant.data_type:
        raise ValueError(f"{source} does not fit {constant.name}")
    constant.raw_data = values.tobytes()


def _values(tensors: dict[str, torch.Tensor], source: str) -> NDArray[np.generic]:
    if source.endswith(_TRANSPOSED):
        return tensors[source.removesuffix(_TRANSPOSED)].numpy().T.copy()
    return tensors[source].numpy()


def _type_of(values: NDArray[np.generic]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(values.dtype))


def _find_sources(net: LocalizationNet, model: onnx.ModelProto) -> dict[str, str] | None:
    """Which weight each constant of the graph holds; None: the graph does not hold every weight by itself.

    Two equal weights share a constant: then a template would give another network's two the same value.
    """
    tensors = _tensors(net)
    transposed = {
        _values(tensors, f"{name}{_TRANSPOSED}").tobytes(): f"{name}{_TRANSPOSED}"
        for name, tensor in tensors.items()
        if tensor.dim() == len("MN")
    }
    sources = {}
    for constant in model.graph.initializer:
        content = onnx.numpy_helper.to_array(constant).tobytes()
        if constant.name in tensors:
            if _values(tensors, constant.name).tobytes() != content:
                return None
            sources[constant.name] = constant.name
        elif content in transposed:
            sources[constant.name] = transposed[content]
    held = {source.removesuffix(_TRANSPOSED) for source in sources.values()}
    return sources if held == tensors.keys() else None


def _emptied(model: onnx.ModelProto, sources: dict[str, str]) -> onnx.ModelProto:
    """The graph without the constants that ``sources`` can fill again."""
    empty = onnx.ModelProto()
    empty.ir_version = model.ir_version
    empty.opset_import.extend(model.opset_import)
    empty.functions.extend(model.functions)
    empty.graph.name = model.graph.name
    empty.graph.node.extend(model.graph.node)
    empty.graph.input.extend(model.graph.input)
    empty.graph.output.extend(model.graph.output)
    for constant in model.graph.initializer:
        if constant.name in sources:
            empty.graph.initializer.add(name=constant.name, data_type=constant.data_type, dims=constant.dims)
        else:
            empty.graph.initializer.append(constant)
    helper.set_model_props(empty, {f"{_PREFIX}{name}": source for name, source in sources.items()})
    return empty
