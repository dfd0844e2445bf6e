"""ONNX Runtime sessions of exported files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.utils import Extractor

from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import INPUT_NAME, IQ_NAME

Array = NDArray[np.float32]


def open_session(path: Path, *, num_threads: int = 1, as_it_is: bool = False) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU that takes features.

    Of a file with the front end inside it is the part behind the front end; ``as_it_is`` opens the whole.

    Raises:
        ExportError: ONNX Runtime cannot load the file.
    """
    session = _open(str(path), path.name, num_threads)
    if as_it_is or session.get_inputs()[0].name != IQ_NAME:
        return session
    return _open(_without_front_end(path), path.name, num_threads)


def open_model(model: onnx.ModelProto) -> ort.InferenceSession:
    """A session of a model that lies in no file.

    Raises:
        ExportError: ONNX Runtime cannot load it.
    """
    return _open(model.SerializeToString(), "the graph", 1)


def run_session(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs for ``feeds``.

    Raises:
        ExportError: ONNX Runtime cannot run the graph on them.
    """
    try:
        outputs: list[Array] = session.run(None, {k: np.ascontiguousarray(v) for k, v in feeds.items()})
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"ONNX Runtime cannot run the graph: {error}", code="export_invalid") from error
    return outputs


def _open(model: str | bytes, name: str, num_threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"ONNX Runtime cannot load {name}: {error}", code="export_invalid") from error


def _without_front_end(path: Path) -> bytes:
    model = onnx.load(path)
    part = Extractor(model).extract_model([INPUT_NAME], [output.name for output in model.graph.output])
    part.metadata_props.extend(model.metadata_props)
    content: bytes = part.SerializeToString()
    return content
