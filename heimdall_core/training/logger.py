"""Lightning's metrics on their way to the job's reporter and to MLflow."""

import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger

from heimdall_core.tracking import MLflowTracker
from heimdall_core.training.reporting import JobReporter


class ReporterLogger(Logger):
    """Forwards every metric; writes no file. Epochs are counted from 1."""

    def __init__(self, reporter: JobReporter, tracker: MLflowTracker | None = None) -> None:
        super().__init__()
        self._reporter = reporter
        self._tracker = tracker

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "heimdall"

    @property
    def version(self) -> int:
        """Lightning asks for one."""
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Passes the finite values on."""
        epoch = int(metrics.get("epoch", 0)) + 1
        values = {k: float(v) for k, v in metrics.items() if k != "epoch" and math.isfinite(v)}
        if values:
            self._reporter.metrics(values, step=step or 0, epoch=epoch)
        if values and self._tracker is not None:
            self._tracker.log_metrics(values, step=step or 0)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The pipeline logs the resolved specification itself."""
