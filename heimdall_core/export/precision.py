"""The backbone in half precision or in eight bits; all around it stays float32.

The levels decide where a transmitter is, and degrees need 24 bits. So the way of the levels, the heads, the
projection and the graph's inputs and outputs are left alone: the backbone has nearly all of the weights and
of the work.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heimdall_core.domain.spec import LAST_TRACED_OPSET
from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import INPUT_NAME
from heimdall_core.networks import LocalizationNet

Array = NDArray[np.float32]
NUM_CALIBRATION_SAMPLES = 256
_BACKBONE = "/backbone/"
_STEM = "/backbone/embeddings/patch_embeddings/"
"""Reads the features, whose rows have scales of their own: eight bits for all together are too few."""
_QUANTISED = ["Conv", "MatMul"]
_CALIBRATION_BATCH = 16


class HalfBackbone(nn.Module):
    """A backbone that computes in float16 between float32 at its edges.

    Raises:
        ExportError: a weight is too large for float16.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.half()
        if not all(torch.isfinite(p).all() for p in self.backbone.parameters()):
            raise ExportError(
                "a weight of the backbone is too large for float16",
                code="export_precision",
                hint="Use int8 or fp32.",
            )

    def forward(self, x: Tensor) -> SimpleNamespace:
        """As a backbone: the pooled features, float32."""
        return SimpleNamespace(pooler_output=self.backbone(x.half()).pooler_output.float())


def halve_backbone(net: LocalizationNet) -> LocalizationNet:
    """The network, changed: its backbone computes in float16."""
    net.backbone = HalfBackbone(net.backbone)
    return net


def quantise_backbone(model: onnx.ModelProto, calibration: Array) -> onnx.ModelProto:
    """The backbone's convolutions and matrix products in 8 bits, with scales from ``calibration``.

    Weights are signed and have a scale for each channel, activations unsigned and one for each tensor, as
    processors with VNNI or AMX multiply them.

    Args:
        model: a float32 graph that takes features.
        calibration: (N, R, 128, 32) features of the training split.

    Raises:
        ExportError: the graph's backbone cannot be found.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    chosen = [node.name for node in model.graph.node if _is_quantised(node)]
    if not chosen:
        raise ExportError(
            "the graph's backbone cannot be found to quantise it",
            code="export_precision",
            hint=f"Use an opset up to {LAST_TRACED_OPSET}.",
        )
    with tempfile.TemporaryDirectory() as folder, _quiet():
        # A file: the quantiser would empty a model that is handed to it of its weights.
        source, path = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            path,
            _Calibration(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=chosen,
            op_types_to_quantize=_QUANTISED,
            extra_options={"DedicatedQDQPair": True},
        )
        return onnx.load(path)


class _Calibration:
    """Hands onnxruntime's quantiser one batch after another, then None."""

    def __init__(self, samples: Array) -> None:
        starts = range(0, len(samples), _CALIBRATION_BATCH)
        self._batches = iter(samples[i : i + _CALIBRATION_BATCH] for i in starts)

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: np.ascontiguousarray(batch, np.float32)}


def _is_quantised(node: onnx.NodeProto) -> bool:
    is_inside = node.name.startswith(_BACKBONE) and not node.name.startswith(_STEM)
    return is_inside and node.op_type in _QUANTISED


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser tells the root logger itself what it would have liked; what others log passes."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(_nothing)
    try:
        yield
    finally:
        root.removeFilter(_nothing)
        root.removeHandler(handler)


def _nothing(_: logging.LogRecord) -> bool:
    return False
