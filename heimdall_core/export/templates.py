"""Graphs that were exported and verified once, without their weights: the next network of a kind fills them.

Tracing a network takes most of an export's time and gives the same graph for the same architecture. What is
filled is verified as any other file; a template whose file fails is deleted and the network is traced.
"""

import hashlib
import json
import math
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from heimdall_core.domain.spec import ExportOutput
from heimdall_core.networks import LocalizationNet

_PREFIX = "heimdall.template."
_TRANSPOSED, _COLUMNS = ".T", ":columns:"
_PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "heimdall-training")
_CORE = Path(__file__).parents[1]
_SOURCES = (
    "networks/*.py",
    "features/rows.py",
    "export/graph.py",
    "export/metadata.py",
    "export/precision.py",
    "export/templates.py",
)
"""Whose text decides what a graph looks like."""
_UNFINISHED = ".part"
_ABANDONED_SECONDS = 3600.0
"""So old, what is unfinished was left by a process that was killed."""


class GraphTemplates:
    """Templates in a folder that the jobs of a host share; it may be deleted at any time.

    A template is renamed into its place, so that what carries a final name is whole. A folder that cannot be
    written holds no templates: each network is then traced.

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
            _remove(path)
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
        part = path.with_name(f".{path.stem}.{uuid4().hex}{_UNFINISHED}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            part.write_bytes(_emptied(model, found).SerializeToString())
            part.replace(path)
        except OSError:  # a full disk, or another user's folder: the model itself is verified
            _remove(part)

    def drop(self, net: LocalizationNet, output: ExportOutput) -> None:
        """Forgets the template, if there is one."""
        path = self._path(net, output)
        if path is not None:
            _remove(path)

    def _path(self, net: LocalizationNet, output: ExportOutput) -> Path | None:
        # A radio map is in the graph, and no weight: another network's would stay in the template.
        if self._folder is None or net.fusion is not None:
            return None
        shapes = {name: [list(t.shape), str(t.dtype)] for name, t in net.state_dict().items()}
        kind = {
            "shapes": shapes,
            "covariance": net.covariance,
            "components": net.components,
            "point_estimate": net.point_estimate,
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
    for pattern in _SOURCES:
        for path in sorted(_CORE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _remove_abandoned(folder: Path) -> None:
    """What processes that were killed in the middle of a write have left."""
    for part in folder.glob(f".*{_UNFINISHED}"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()


def _tensors(net: LocalizationNet) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in net.state_dict().items()}


def _fill(constant: TensorProto, tensors: dict[str, torch.Tensor], source: str) -> None:
    values = _values(tensors, source)
    if list(values.shape) != list(constant.dims) or _type_of(values) != constant.data_type:
        raise ValueError(f"{source} does not fit {constant.name}")
    constant.raw_data = values.tobytes()


def _values(tensors: dict[str, torch.Tensor], source: str) -> NDArray[np.generic]:
    name, _, num_columns = source.partition(_COLUMNS)
    if num_columns:
        return tensors[name][:, : int(num_columns)].numpy().copy()
    if source.endswith(_TRANSPOSED):
        return tensors[source.removesuffix(_TRANSPOSED)].numpy().T.copy()
    return tensors[source].numpy()


def _type_of(values: NDArray[np.generic]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(values.dtype))


def _find_sources(net: LocalizationNet, model: onnx.ModelProto) -> dict[str, str] | None:
    """Which weight each constant of the graph holds; None: the graph does not hold every weight by itself.

    Two equal weights share a constant: then a template would give another network's two the same value. And
    folding may leave a constant that was computed from weights: it would go stale. The first columns of a
    weight can be filled too.
    """
    tensors, buffers = _tensors(net), {name for name, _ in net.named_buffers()}
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
        elif constant.name not in buffers and _may_be_derived(constant):
            found = _find_columns(tensors, list(constant.dims), content)
            if found is None:
                return None
            sources[constant.name] = found
    held = {source.removesuffix(_TRANSPOSED) for source in sources.values()}
    return sources if held >= tensors.keys() else None


def _find_columns(tensors: dict[str, torch.Tensor], shape: list[int], content: bytes) -> str | None:
    """The one weight whose first columns a constant holds."""
    found = [
        source
        for name, tensor in tensors.items()
        if tensor.dim() == len(shape) == len("MN") and len(tensor) == shape[0] and tensor.shape[1] > shape[1]
        if _values(tensors, source := f"{name}{_COLUMNS}{shape[1]}").tobytes() == content
    ]
    return found[0] if len(found) == 1 else None


def _may_be_derived(constant: TensorProto) -> bool:
    """Whether it is an array of real numbers: what a graph needs besides weights are shapes and scalars."""
    return constant.data_type in {TensorProto.FLOAT, TensorProto.FLOAT16} and math.prod(constant.dims) > 1


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
