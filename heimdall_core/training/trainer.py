"""The Lightning trainer of a job: quiet, deterministic, and writing only into its workspace."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor

from heimdall_core.domain.spec import ResourcesSpec, TrainingSpec
from heimdall_core.training.callbacks import BestCheckpoints, StopWhenStale
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.logger import ReporterLogger
from heimdall_core.training.module import LocalizationLightningModule

_PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_LOG_EVERY_STEPS = 10


def create_trainer(
    *,
    training: TrainingSpec,
    resources: ResourcesSpec,
    workspace: Path,
    logger: ReporterLogger,
    callbacks: Sequence[Callback],
    num_batches: int,
) -> pl.Trainer:
    """A trainer that keeps the best 3 checkpoints, stops early and logs the learning rate."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    stopping = [StopWhenStale(training.early_stopping_patience)] if training.early_stopping_patience else []
    return pl.Trainer(
        default_root_dir=workspace,
        accelerator=resources.accelerator,
        devices=resources.devices,
        num_nodes=resources.num_nodes,
        precision=resolve_precision(training.precision, resources.accelerator),
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate_grad_batches,
        gradient_clip_val=training.gradient_clip,
        deterministic=True,
        benchmark=False,
        logger=logger,
        log_every_n_steps=max(1, min(_LOG_EVERY_STEPS, num_batches)),
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            *stopping,
            LearningRateMonitor(logging_interval="step"),
            *callbacks,
            BestCheckpoints(workspace / "checkpoints"),
        ],
    )


def fit(
    trainer: pl.Trainer,
    module: LocalizationLightningModule,
    data: HeimdallDataModule,
    *,
    resume_path: Path | None = None,
) -> None:
    """Trains; from a checkpoint, of which only tensors and plain values are read."""
    with warnings.catch_warnings():
        # Lightning 2.6 builds its pytrees as torch 2.13 no longer likes.
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        trainer.fit(module, datamodule=data, ckpt_path=resume_path, weights_only=True)


def resolve_precision(precision: str, accelerator: str) -> Any:
    """Lightning's name of a precision; ``auto`` is mixed where the hardware multiplies bf16 natively."""
    if precision != "auto":
        return _PRECISIONS[precision]
    if accelerator in {"auto", "gpu"} and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"  # noqa: SLF001 - no public name
