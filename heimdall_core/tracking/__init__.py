"""MLflow, which a training must never wait for and never fail with."""

from heimdall_core.tracking.client import connect, limit_waiting
from heimdall_core.tracking.initialization import initialize_mlflow
from heimdall_core.tracking.runs import RunInfo
from heimdall_core.tracking.target import JOB_ID_TAG, S3Access, TrackingTarget, local_target, target_of
from heimdall_core.tracking.tracker import MLflowTracker, RunStatus

__all__ = [
    "JOB_ID_TAG",
    "MLflowTracker",
    "RunInfo",
    "RunStatus",
    "S3Access",
    "TrackingTarget",
    "connect",
    "initialize_mlflow",
    "limit_waiting",
    "local_target",
    "target_of",
]
