"""The network that locates a transmitter, and its loss."""

from heimdall_core.networks.localization import LocalizationNet
from heimdall_core.networks.loss import GaussianNLLLoss
from heimdall_core.networks.prediction import PlanePrediction

__all__ = ["GaussianNLLLoss", "LocalizationNet", "PlanePrediction"]
