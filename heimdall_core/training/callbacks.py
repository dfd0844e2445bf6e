"""What happens at the edges of batches and epochs: progress, best weights, durable checkpoints, stopping."""

# ruff: noqa: ARG002 - Lightning fixes the parameters of its hooks

import math
import os
import time
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor

from heimdall_core.domain.ports import JobStopped
from heimdall_core.training.checkpoints import CheckpointUploader, LocalCheckpoint, UploadPace
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.dataset import Batch
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.reporting import JobReporter

STOP_UPLOAD_SECONDS = 15.0
NUM_BEST = 3


class ProgressReporting(Callback):
    """Reports epoch, step, speed and remaining time, and the moment of the first step.

    At the end of each epoch it reports the epoch's ``samples_per_second`` (sessions, validation left out).
    """

    def __init__(self, reporter: JobReporter, *, started_at: float) -> None:
        self._reporter = reporter
        self._started_at = started_at
        self._train_began_at = 0.0
        self._first_step = 0
        self._steps = 1
        self._busy_seconds = 0.0
        self._batch_began_at = 0.0
        self._num_sessions = 0
        self._before_epoch = (0, 0.0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        self._steps = int((trainer.max_epochs or 1) * per_epoch)
        self._first_step = trainer.global_step
        self._train_began_at = self._batch_began_at = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the validation out of the speed."""
        self._batch_began_at = time.monotonic()
        self._before_epoch = (self._num_sessions, self._busy_seconds)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports how fast the epoch was."""
        num_before, seconds_before = self._before_epoch
        speed = (self._num_sessions - num_before) / max(self._busy_seconds - seconds_before, 1e-9)
        step = max(0, trainer.global_step - 1)
        values = {"samples_per_second": round(speed, 1)}
        self._reporter.metrics(values, step=step, epoch=trainer.current_epoch + 1)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Reports how far the training is."""
        now = time.monotonic()
        if not self._num_sessions:
            self._reporter.event("first_step", seconds_since_start=round(now - self._started_at, 3))
        assert isinstance(trainer.datamodule, HeimdallDataModule)
        self._num_sessions += trainer.datamodule.sessions_of(batch_idx)
        self._busy_seconds += now - self._batch_began_at
        self._batch_began_at = now
        done = max(1, trainer.global_step - self._first_step)
        seconds_per_step = (now - self._train_began_at) / done
        self._reporter.advance(
            trainer.global_step / self._steps,
            epoch=trainer.current_epoch + 1,
            epochs=trainer.max_epochs,
            step=trainer.global_step,
            steps=self._steps,
            samples_per_second=round(self._num_sessions / max(self._busy_seconds, 1e-9), 1),
            eta_seconds=round(seconds_per_step * (self._steps - trainer.global_step), 1),
        )


class StepCurves(Callback):
    """Logs what the module tells of its steps, in one message every so many of them.

    ``self.log`` keeps a metric up to date at every batch, whether a point is due or not.
    """

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Logs where a point is due; the last step always has one."""
        if _is_within_step(trainer, batch_idx) or not trainer.loggers:
            return
        if trainer.global_step % trainer.log_every_n_steps and not trainer.should_stop:
            return
        assert isinstance(pl_module, LocalizationLightningModule)
        values = {**pl_module.step_metrics(), "epoch": float(trainer.current_epoch)}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step - 1)


class BestWeights(Callback):
    """Keeps the weights that become the model, in memory and in checkpoints.

    Args:
        keep: those of the epoch with the least ``val_loss``, or those of the last epoch.
    """

    def __init__(self, keep: Literal["best", "last"] = "best") -> None:
        self._keep = keep
        self.val_loss = float("inf")
        self.epoch = 0
        """Counted from 1; 0 before the first validation."""
        self.weights: dict[str, Tensor] = {}

    def take(self, weights: dict[str, Tensor], *, epoch: int) -> None:
        """Weights that were trained elsewhere are the best there are."""
        self.weights, self.epoch = weights, epoch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copies the weights where they are the ones to keep."""
        val_loss = float(trainer.callback_metrics["val_loss"])
        if self._keep == "last" or val_loss < self.val_loss:
            assert isinstance(pl_module, LocalizationLightningModule)
            self.val_loss, self.epoch = val_loss, trainer.current_epoch + 1
            self.weights = {k: v.detach().to("cpu", copy=True) for k, v in pl_module.net.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"val_loss": self.val_loss, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.val_loss = state_dict["val_loss"]
        self.epoch = state_dict["epoch"]
        self.weights = state_dict["weights"]


class StopWhenStale(EarlyStopping):
    """Early stopping that a resume cannot undo: what had stopped trains no further epoch."""

    def __init__(self, patience: int) -> None:
        super().__init__(monitor="val_loss", patience=patience, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at once if patience had run out before the checkpoint."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class FinishOnRequest(Callback):
    """Ends the training after the present batch and one more validation, as if patience had run out."""

    def __init__(self, reporter: JobReporter) -> None:
        self._reporter = reporter

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Lightning validates once more before it ends."""
        if self._reporter.finish_requested() and not trainer.should_stop:
            trainer.should_stop = True
            self._reporter.event("finishing_early", epoch=trainer.current_epoch + 1, step=trainer.global_step)


class DurableCheckpoints(Callback):
    """Writes ``last.ckpt`` now and then and at the end, has it uploaded, and stops the run on request.

    Every checkpoint lies between two optimizer steps. On an epoch's last batch none is written before its
    validation is over: a resume would skip that validation.
    """

    def __init__(
        self,
        folder: Path,
        uploader: CheckpointUploader,
        reporter: JobReporter,
        *,
        interval_seconds: float = 30.0,
    ) -> None:
        self._folder = folder
        self._uploader = uploader
        self._reporter = reporter
        self._pace = UploadPace(interval_seconds)
        self._at_epoch_end = False
        self._step = -1

    @property
    def path(self) -> Path:
        """The newest checkpoint on this disk."""
        return self._folder / "last.ckpt"

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Within an epoch: stops on request, and saves where an epoch takes long."""
        self._at_epoch_end = batch_idx + 1 >= trainer.num_training_batches
        if self._at_epoch_end or _is_within_step(trainer, batch_idx):
            return
        if self._reporter.stop_requested() is not None:
            self._stop(trainer)
        if self._pace.is_due():
            self._save(trainer, upload=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the validation: saves where it is time to, and stops on request."""
        if self._reporter.stop_requested() is not None:
            self._stop(trainer)
        is_last = trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 1)
        if is_last or self._pace.is_due():
            self._save(trainer, upload=True)

    def write(self, trainer: pl.Trainer) -> Path:
        """The checkpoint of this step, written unless that was done."""
        if self._step != trainer.global_step:
            self._save(trainer, upload=False)
        return self.path

    def _stop(self, trainer: pl.Trainer) -> None:
        self._save(trainer, upload=True)
        self._uploader.flush(STOP_UPLOAD_SECONDS)
        request = self._reporter.stop_requested()
        assert request is not None, "a request to stop is never withdrawn"
        raise JobStopped(request)

    def _save(self, trainer: pl.Trainer, *, upload: bool) -> None:
        began_at = time.monotonic()
        part = self._folder / f"last-{trainer.global_step}.ckpt"
        trainer.save_checkpoint(part)
        if upload:
            self._submit(part, trainer)
        part.replace(self.path)
        self._step = trainer.global_step
        if upload:
            self._pace.saved(time.monotonic() - began_at)

    def _submit(self, part: Path, trainer: pl.Trainer) -> None:
        frozen = part.with_suffix(".upload")
        os.link(part, frozen)
        self._uploader.submit(
            LocalCheckpoint(
                path=frozen,
                name=f"step-{trainer.global_step:08d}.ckpt",
                epoch=trainer.current_epoch + (1 if self._at_epoch_end else 0),
                step=trainer.global_step,
                metrics=_metrics(trainer),
                at_epoch_end=self._at_epoch_end,
            )
        )


class BestCheckpoints(Callback):
    """The three best checkpoints of this attempt, on its own disk: other names of what ``durable`` writes.

    A resumed run begins a new list: the files of the former attempt may be on another machine, and the best
    weights travel with ``BestWeights``.
    """

    def __init__(self, folder: Path, durable: DurableCheckpoints | None = None) -> None:
        self._folder = folder
        self._durable = durable
        self._kept: list[tuple[float, Path]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the epoch's checkpoint if it is one of the best, and deletes the one that no longer is."""
        val_loss = float(trainer.callback_metrics["val_loss"])
        if len(self._kept) == NUM_BEST and val_loss >= self._kept[-1][0]:
            return
        path = self._folder / f"epoch={trainer.current_epoch:04d}-val_loss={val_loss:.4f}.ckpt"
        self._keep(trainer, path)
        self._kept = sorted([*self._kept, (val_loss, path)], key=lambda kept: kept[0])
        for _, worse in self._kept[NUM_BEST:]:
            worse.unlink(missing_ok=True)
        del self._kept[NUM_BEST:]

    def _keep(self, trainer: pl.Trainer, path: Path) -> None:
        if self._durable is None:
            trainer.save_checkpoint(path)
            return
        path.unlink(missing_ok=True)
        os.link(self._durable.write(trainer), path)


def _is_within_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether the batch's gradients wait for those of the next one."""
    is_last = batch_idx + 1 >= trainer.num_training_batches
    return not is_last and (batch_idx + 1) % trainer.accumulate_grad_batches != 0


def _metrics(trainer: pl.Trainer) -> dict[str, float]:
    """The newest of every curve, where it is finite."""
    assert isinstance(trainer.lightning_module, LocalizationLightningModule)
    validated = {name: float(value) for name, value in trainer.callback_metrics.items()}
    values = {**validated, **trainer.lightning_module.step_metrics()}
    return {name: value for name, value in values.items() if math.isfinite(value)}
