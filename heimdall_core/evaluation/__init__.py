"""How good a model is: metrics, baselines, pictures, and the report that holds them."""

from heimdall_core.evaluation.metrics import Predictions, evaluate
from heimdall_core.evaluation.report import EvaluationReport, build_report

__all__ = ["EvaluationReport", "Predictions", "build_report", "evaluate"]
