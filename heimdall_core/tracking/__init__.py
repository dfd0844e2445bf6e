"""MLflow, which a training must never wait for and never fail with."""

from heimdall_core.tracking.client import initialize_mlflow, limit_waiting
from heimdall_core.tracking.target import JOB_ID_TAG, TrackingTarget
from heimdall_core.tracking.tracker import MLflowTracker

__all__ = ["JOB_ID_TAG", "MLflowTracker", "TrackingTarget", "initialize_mlflow", "limit_waiting"]
