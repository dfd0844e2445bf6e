"""The Lightning trainer of a job: quiet, deterministic, and writing only into its workspace."""

import logging
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import PassThroughProfiler

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.spec import Backbone, ResourcesSpec, TrainingSpec
from heimdall_core.training.callbacks import (
    BestCheckpoints,
    DurableCheckpoints,
    StepCurves,
    StopWhenStale,
)
from heimdall_core.training.checkpoint_files import WholeFiles
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.logger import ReporterLogger
from heimdall_core.training.module import LocalizationLightningModule

_LIGHTNING_NAMES: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_LOG_EVERY_STEPS = 10
#: On a CPU too small for bf16 to pay: its casts cost more than its products save.
_SMALL: frozenset[Backbone] = frozenset({"micro"})
Kind = Literal["cuda", "mps", "cpu"]


class _Unprofiled(PassThroughProfiler):
    """Enters the same context around every hook, where Lightning makes a new one each time."""

    _nothing = nullcontext()

    # Lightning fixes the parameters.
    def profile(self, action_name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing."""
        return self._nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What one rank computes on, and in which precision."""

    kind: Kind
    precision: Literal["fp32", "bf16", "fp16"]
    rank: int = 0
    num_ranks: int = 1

    def describe(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {"accelerator": self.kind, "devices": self.num_ranks, "precision": self.precision}

    def options(self) -> dict[str, Any]:
        """The arguments of ``pl.Trainer``, which sees one device whatever the number of ranks is."""
        accelerator = {"cuda": "gpu"}.get(self.kind, self.kind)
        return {
            "accelerator": accelerator,
            "devices": [self.rank] if self.kind == "cuda" and self.num_ranks > 1 else 1,
            "num_nodes": 1,
            "precision": _LIGHTNING_NAMES[self.precision],
        }


def create_trainer(
    *,
    training: TrainingSpec,
    resources: ResourcesSpec,
    workspace: Path,
    logger: ReporterLogger,
    callbacks: Sequence[Callback],
    num_batches: int,
    device: Device | None = None,
) -> pl.Trainer:
    """A trainer that keeps the best 3 checkpoints, stops early and logs the curves of its steps.

    ``device``: default: what ``choose_device`` says of the training and the resources.
    """
    durable = next((c for c in callbacks if isinstance(c, DurableCheckpoints)), None)
    stopping = [StopWhenStale(training.early_stopping_patience)] if training.early_stopping_patience else []
    return _trainer(
        training,
        device or choose_device(training, resources),
        workspace,
        logger=logger,
        log_every_n_steps=max(1, min(_LOG_EVERY_STEPS, num_batches)),
        num_sanity_val_steps=0,
        callbacks=[
            *stopping,
            *callbacks,
            StepCurves(),
            BestCheckpoints(workspace / "checkpoints", durable),
        ],
    )


def create_follower(training: TrainingSpec, device: Device, workspace: Path) -> pl.Trainer:
    """The trainer of a rank that takes part in every step and in nothing else."""
    return _trainer(training, device, workspace, logger=False, limit_val_batches=0)


def _trainer(training: TrainingSpec, device: Device, workspace: Path, **options: Any) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return pl.Trainer(
        default_root_dir=workspace,
        **device.options(),
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate_grad_batches,
        gradient_clip_val=training.gradient_clip,
        deterministic=True,
        benchmark=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        plugins=[WholeFiles()],
        profiler=_Unprofiled(),
        **options,
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
        # Of several ranks one alone logs and validates, and the others have none of its callbacks.
        warnings.filterwarnings("ignore", ".*sync_dist=True")
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint")
        # A frozen backbone, as asked for.
        warnings.filterwarnings("ignore", "Found .* in eval mode")
        trainer.fit(module, datamodule=data, ckpt_path=resume_path, weights_only=True)


def choose_device(
    training: TrainingSpec, resources: ResourcesSpec, *, backbone: Backbone | None = None, rank: int = 0
) -> Device:
    """What the resources mean on this host.

    Raises:
        TrainingError: a GPU is asked for and there is none, or the precision does not go with the device.
    """
    kind = _kind(resources.accelerator, several=resources.devices > 1)
    precision = resolve_precision(training.precision, kind, backbone)
    return Device(kind=kind, precision=precision, rank=rank, num_ranks=resources.devices)


def resolve_precision(precision: str, kind: Kind, backbone: Backbone | None = None) -> Any:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is mixed where the hardware multiplies bf16 natively and fast.

    On CPUs that is AMX. AVX-512 BF16 alone is not worth it (AMD EPYC, one thread, batch 32: a step of micro
    takes 18 ms in fp32 and 21 ms in bf16, one of atto 252 ms and 242 ms).

    Raises:
        TrainingError: fp16 on a CPU.
    """
    if precision == "fp16" and kind == "cpu":
        raise TrainingError(
            "training.precision fp16 needs a GPU, and this training runs on a CPU",
            code="precision_not_supported",
            hint="Use auto, bf16 or fp32; or resources.accelerator gpu.",
        )
    if precision != "auto":
        return precision
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    has_amx = kind == "cpu" and torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - no public name
    return "bf16" if has_amx and backbone not in _SMALL else "fp32"


def _kind(accelerator: str, *, several: bool) -> Kind:
    if accelerator == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available() and not several:
        return "mps"
    if accelerator == "gpu":
        raise TrainingError(
            "resources.accelerator is gpu, and torch sees none",
            code="no_gpu",
            hint="Use auto or cpu; or install a driver and a build of torch that support the GPU.",
        )
    return "cpu"
