"""The trained network as a verified ONNX file that describes itself."""

from heimdall_core.export.exporter import ExportedModel, ONNXExporter, export_and_register_model
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.parity import ExportError, Parity

__all__ = [
    "ExportError",
    "ExportedModel",
    "ModelFacts",
    "ONNXExporter",
    "Parity",
    "export_and_register_model",
]
