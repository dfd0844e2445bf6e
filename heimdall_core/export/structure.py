"""Whether a file is the graph that was promised: valid, of the right shapes, and saying whose it is."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, ValueInfoProto

from heimdall_core.domain.errors import DataError
from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import Contract, ModelFacts, Port, Precision, metadata_of, read_facts

_LARGEST_SHAPE_BYTES = 4096
"""A larger constant is no shape: inference does without its values."""


def load_checked(path: Path) -> onnx.ModelProto:
    """The model in a file that passes onnx's full check: structure, types and strictly inferred shapes.

    Raises:
        ExportError: it is none.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return onnx.load(path)
    except Exception as error:  # onnx raises its own errors and protobuf's
        raise ExportError(f"{path.name} is not a valid ONNX model: {error}", code="export_invalid") from error


def check_opset(model: onnx.ModelProto, opset: int) -> None:
    """Raises ExportError unless the standard operators are of this opset."""
    found = {o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}}
    if found != {opset}:
        raise ExportError(f"the exporter wrote opset {sorted(found)} instead of {opset}", code="export_opset")


def check_contract(model: onnx.ModelProto, contract: Contract) -> None:
    """Checks names, types and shapes of inputs and outputs, and that inference does not contradict them.

    Raises:
        ExportError: one is missing, or other than promised.
    """
    _check_ports("input", model.graph.input, contract.inputs)
    _check_ports("output", model.graph.output, contract.outputs)
    _check_ports("inferred output", _infer_outputs(model), contract.outputs, may_be_unknown=True)


def check_metadata(
    model: onnx.ModelProto,
    facts: ModelFacts,
    outputs: Sequence[str],
    *,
    precision: Precision,
    takes_iq: bool,
) -> None:
    """Raises ExportError unless the file says of itself all that is known of the model, and nothing else."""
    properties = {p.key: p.value for p in model.metadata_props}
    expected = facts.to_properties(tuple(outputs), precision=precision, takes_iq=takes_iq)
    try:
        is_right = read_facts(properties) == facts and metadata_of(properties) == metadata_of(expected)
    except (DataError, KeyError, ValueError, TypeError) as error:
        raise ExportError(f"the file's metadata cannot be read: {error}", code="export_metadata") from error
    if not is_right:
        raise ExportError("the file's metadata is not the model's", code="export_metadata")


def _check_ports(
    what: str,
    found: Sequence[ValueInfoProto],
    promised: Sequence[Port],
    *,
    may_be_unknown: bool = False,
) -> None:
    names, expected = [value.name for value in found], [port.name for port in promised]
    if names != expected:
        raise ExportError(f"the graph has the {what}s {names}, not {expected}", code="export_contract")
    for value, port in zip(found, promised, strict=True):
        _check_port(what, value, port, may_be_unknown=may_be_unknown)


def _check_port(what: str, value: ValueInfoProto, port: Port, *, may_be_unknown: bool) -> None:
    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise ExportError(f"the {what} {port.name} is {kind}, not FLOAT", code="export_contract")
    if may_be_unknown and not tensor.HasField("shape"):
        return
    dims = tensor.shape.dim
    sizes = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    is_right = len(sizes) == 1 + len(port.shape) and all(
        size == wanted or (may_be_unknown and size is None)
        for size, wanted in zip(sizes, (None, *port.shape), strict=True)
    )
    if not is_right:
        raise ExportError(
            f"the {what} {port.name} has the shape {sizes}, not {(None, *port.shape)}",
            code="export_contract",
            hint="None stands for a batch of any size.",
        )


def _infer_outputs(model: onnx.ModelProto) -> Sequence[ValueInfoProto]:
    """The outputs as inference alone finds them, whatever the file says about them."""
    bare = _without_weights(model)
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ExportError(
            f"the graph's shapes contradict each other: {error}", code="export_invalid"
        ) from error
    return list(inferred.graph.output)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large constants have types and shapes alone."""
    bare = onnx.ModelProto()
    bare.ir_version = model.ir_version
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    graph = bare.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for constant in model.graph.initializer:
        if len(constant.raw_data) <= _LARGEST_SHAPE_BYTES:
            graph.initializer.append(constant)
        else:
            graph.initializer.add(name=constant.name, data_type=constant.data_type, dims=constant.dims)
    return bare
