"""A model trained again as its champion was, on the recordings that are approved now.

Services call this unattended: callers join the job that waits already, and a repeated call changes nothing.
"""

from heimdall_core.retraining.calls import LATEST, RetrainCall, Retraining, RetrainOutcome
from heimdall_core.retraining.overrides import REASON_TAG
from heimdall_core.retraining.queueing import coalesce_key, retrain_model

__all__ = [
    "LATEST",
    "REASON_TAG",
    "RetrainCall",
    "RetrainOutcome",
    "Retraining",
    "coalesce_key",
    "retrain_model",
]
