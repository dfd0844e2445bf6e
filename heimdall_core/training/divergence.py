"""A training that gets worse and worse without ever becoming NaN."""

# ruff: noqa: ARG002 - Lightning fixes the parameters of its hooks

from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.spec import TrainingSpec
from heimdall_core.training.callbacks import BestWeights
from heimdall_core.training.checkpoints import CheckpointUploader
from heimdall_core.training.dataset import Batch
from heimdall_core.training.module import LocalizationLightningModule

#: Batches that are averaged before they are judged.
WINDOW = 10
#: So many windows in a row far above the first batch are a divergence.
PATIENCE = 3
#: How far: so many times the size of the first batch's loss, or 1 if that is smaller.
FACTOR = 10.0


@dataclass(slots=True)
class LossWatch:
    """Judges the losses of one batch after another; all that it remembers fits into a checkpoint.

    The beta-NLL of a fresh network is a few units, and a training that works never comes back to it: one
    whose windowed mean stays ``FACTOR`` times that much above it has left the region it can return from.
    """

    start: float | None = None
    window: list[float] = field(default_factory=list)
    num_bad: int = 0
    mean: float = 0.0

    def add(self, loss: float) -> bool:
        """Whether the training has diverged."""
        if self.start is None:
            self.start = loss
        self.window.append(loss)
        if len(self.window) == WINDOW:
            self.mean = sum(self.window) / WINDOW
            self.window = []
            limit = self.start + FACTOR * max(1.0, abs(self.start))
            self.num_bad = self.num_bad + 1 if self.mean > limit else 0
        return self.num_bad >= PATIENCE


class StopWhenDiverged(Callback):
    """Ends a training whose loss has exploded, and says what is left of it.

    Raises:
        TrainingError: it has diverged.
    """

    def __init__(self, training: TrainingSpec, best: BestWeights, uploader: CheckpointUploader) -> None:
        self._training = training
        self._best = best
        self._uploader = uploader
        self._watch = LossWatch()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Judges the batch's loss."""
        assert isinstance(pl_module, LocalizationLightningModule)
        if self._watch.add(pl_module.last_loss):
            raise TrainingError(
                f"the training diverged: its loss was {self._watch.start:.4g} at first and "
                f"{self._watch.mean:.4g} on average over the last {WINDOW} batches, "
                f"{pl_module.describe_step()}; {self._left()}",
                code="diverged",
                hint=self._hint(),
            )

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        watch = self._watch
        return {"start": watch.start, "window": list(watch.window), "num_bad": watch.num_bad}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._watch = LossWatch(**state_dict)

    def _left(self) -> str:
        best, newest = self._best, self._uploader.newest
        kept = (
            f"the weights kept are those of epoch {best.epoch} (val_loss {best.val_loss:.4g})"
            if best.epoch
            else ""
        )
        durable = (
            "there is no durable checkpoint"
            if newest is None
            else (f"the newest durable checkpoint is of step {newest.step} (epoch {newest.epoch})")
        )
        return f"{kept}; {durable}" if kept else f"no epoch was validated; {durable}"

    def _hint(self) -> str:
        training = self._training
        verb = "set" if training.gradient_clip is None else "lower"
        return (
            f"Lower training.learning_rate ({training.learning_rate:g}) to a tenth first; "
            f"then raise training.warmup_epochs ({training.warmup_epochs}) or {verb} training.gradient_clip."
        )
