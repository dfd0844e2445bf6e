"""The network's evaluation mode as an ONNX graph with a free batch size."""

import copy
import warnings
from pathlib import Path

import onnx
import torch
from torch.jit._trace import TracerWarning

from heimdall_core.domain.spec import LAST_TRACED_OPSET
from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import INPUT_NAME, NUM_FRAMES, contract_of, output_names
from heimdall_core.features.rows import NUM_ROWS
from heimdall_core.networks import LocalizationNet

OPSETS = range(17, 24)
"""Older ones lack layer normalisation; newer ones, torch's exporter does not write."""


def require_opset(opset: int, *, known: range = OPSETS, what: str = "the export") -> None:
    """Raises ExportError unless graphs of this opset can be written."""
    if opset not in known:
        raise ExportError(
            f"opset {opset}: {what} goes from {known.start} to {known.stop - 1}",
            code="export_opset",
            hint="Use opset 18.",
        )


def write_graph(net: LocalizationNet, path: Path, *, opset: int, constant_folding: bool) -> None:
    """Writes the graph of a network that ``evaluation_copy`` made.

    Raises:
        ExportError: graphs of this opset cannot be written.
    """
    require_opset(opset)
    example = torch.zeros(2, net.num_receivers, NUM_ROWS, NUM_FRAMES)
    # The TorchScript exporter takes 0.3 s where the other takes 8, and writes the same graph.
    if opset <= LAST_TRACED_OPSET:
        _write_traced(net, example, path, opset=opset, constant_folding=constant_folding)
    else:
        _write_exported(net, example, path, opset=opset, constant_folding=constant_folding)
    if net.components > 1 or net.fusion is not None:
        _state_output_shapes(net, path)


def evaluation_copy(model: LocalizationNet) -> LocalizationNet:
    """The same network on the CPU, in float32 and evaluation mode."""
    return copy.deepcopy(model).cpu().float().eval()


def _write_traced(
    net: LocalizationNet, example: torch.Tensor, path: Path, *, opset: int, constant_folding: bool
) -> None:
    names = (INPUT_NAME, *output_names(net))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        # ConvNeXt compares its channel count with its configuration: true of every batch.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean", TracerWarning)
        torch.onnx.export(
            net,
            (example,),
            str(path),
            input_names=[INPUT_NAME],
            output_names=list(names[1:]),
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=opset,
            do_constant_folding=constant_folding,
            dynamo=False,
        )


def _write_exported(
    net: LocalizationNet, example: torch.Tensor, path: Path, *, opset: int, constant_folding: bool
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        torch.onnx.export(
            net,
            (example,),
            str(path),
            input_names=[INPUT_NAME],
            output_names=list(output_names(net)),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=opset,
            optimize=constant_folding,
            external_data=False,
            verbose=False,
            dynamo=True,
        )


def _state_output_shapes(net: LocalizationNet, path: Path) -> None:
    """Says what torch lost on the way: the sizes of the outputs behind the batch."""
    model = onnx.load(path)
    for value, port in zip(model.graph.output, contract_of(net).outputs, strict=True):
        shape = value.type.tensor_type.shape
        del shape.dim[1:]
        for size in port.shape:
            shape.dim.add().dim_value = size
    onnx.save(model, path)
