"""Training: data, the Lightning module, the trainer, and checkpoints that survive the machine."""

from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import load_network
from heimdall_core.training.trainer import create_trainer

__all__ = [
    "HeimdallDataModule",
    "HeimdallDataset",
    "LocalizationLightningModule",
    "create_trainer",
    "load_network",
]
