"""What Lightning trains: the network, its loss, its optimizer and its validation metrics."""

# ruff: noqa: ARG002 - Lightning fixes the parameters of its hooks

from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.spec import TrainingSpec
from heimdall_core.evaluation.metrics import CHI_SQUARED_2
from heimdall_core.networks import GaussianNLLLoss, LocalizationNet
from heimdall_core.recordings.geodesy import distance_m, to_degrees
from heimdall_core.training.dataset import Batch
from heimdall_core.training.inference import PlaneGaussians, average_segments
from heimdall_core.training.network import Construction
from heimdall_core.training.randomness import step_seed
from heimdall_core.training.schedule import warmup_cosine

if TYPE_CHECKING:
    from heimdall_core.training.distributed import Exchange


class LocalizationLightningModule(pl.LightningModule):
    """Trains a ``LocalizationNet`` with beta-NLL in the local plane.

    Logs ``val_loss`` (plain NLL, nats per km²), ``val_median_error_m`` (geodesic; sessions, not segments,
    count) and ``val_coverage_68`` (share of sessions within the 68 % ellipse, not calibrated yet), and
    tells who asks for a step's ``train_loss`` (beta-NLL) and ``grad_norm`` (L2, before clipping).

    With an ``exchange`` it sees its rank's share of each batch, and steps on the gradient of the whole.

    Raises:
        TrainingError: the loss is not finite.
    """

    def __init__(
        self,
        net: LocalizationNet,
        training: TrainingSpec,
        *,
        steps_per_epoch: int,
        construction: Construction,
    ) -> None:
        super().__init__()
        self.net = net
        self.construction = construction
        self._training = training
        self._steps_per_epoch = steps_per_epoch
        self._loss = GaussianNLLLoss(unit_km=net.plane_scale_km)
        self._validated: list[tuple[PlaneGaussians, np.ndarray]] = []
        self.exchange: Exchange | None = None
        self.last_loss = float("nan")
        """Of the newest training batch, over all ranks."""
        self._grad_norm = torch.tensor(float("nan"))
        self._learning_rate = float("nan")
        self._batch_idx = 0

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The network's outputs in degrees and metres."""
        return self.net(inputs)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and cosine, stepped at every optimizer step."""
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=self._training.learning_rate, weight_decay=self._training.weight_decay
        )
        schedule = partial(
            warmup_cosine,
            warmup_steps=min(self._training.warmup_epochs, self._training.epochs - 1) * self._steps_per_epoch,
            total_steps=self._training.epochs * self._steps_per_epoch,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "learning_rate"},
        }

    def on_train_start(self) -> None:
        """Every rank begins with the same weights."""
        if self.exchange is not None:
            self.exchange.align(self.net)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Makes the step's random numbers a function of the seed and the step, on every rank."""
        self._batch_idx = batch_idx
        _seed(step_seed(self._training.seed, self.current_epoch, batch_idx), batch.inputs.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes which network the weights are of."""
        checkpoint["construction"] = asdict(self.construction)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch; of one share of it, weighted, where there are several ranks."""
        with nullcontext() if self.exchange is None else self.exchange.part_of_randomness(batch_idx):
            mean_km, sigma_km, correlation, components = self.net.plane(batch.inputs)
        loss: Tensor = self._loss(mean_km, sigma_km, batch.target_km, correlation, components)
        if self.exchange is not None:
            loss = self.exchange.weigh(loss, batch_idx)
        self.last_loss = loss.item() if self.exchange is None else self.exchange.total(loss)
        self._require_finite(self.last_loss)
        return loss

    def on_after_backward(self) -> None:
        """Before an optimizer step, and before anybody looks at the gradients: their sum over the ranks."""
        if self.exchange is not None and self._is_step_due():
            self.exchange.sum_gradients(self.net.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips by the norm, and notes what it was before."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_val is None:
            gradients = [p.grad for p in parameters if p.grad is not None]
            self._grad_norm = nn.utils.get_total_norm(gradients)
        else:
            self._grad_norm = nn.utils.clip_grad_norm_(parameters, gradient_clip_val)
        self._learning_rate = optimizer.param_groups[0]["lr"]

    def step_metrics(self) -> dict[str, float]:
        """Loss, gradient norm and learning rate of the newest optimizer step; one may not be finite."""
        return {
            "train_loss": self.last_loss,
            "grad_norm": float(self._grad_norm),
            "learning_rate": self._learning_rate,
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the batch's predictions for the end of the epoch."""
        prediction = average_segments(self.net.plane(batch.inputs), batch.item, len(batch.indices))
        self._validated.append((prediction, batch.target_km.double().cpu().numpy()))

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics over all sessions at once, whatever the batches were."""
        prediction = PlaneGaussians.concatenate([p for p, _ in self._validated])
        target_km = np.concatenate([t for _, t in self._validated])
        self._validated.clear()
        loss = float(prediction.density_nll(target_km).mean())
        self._require_finite(loss)
        error_m = self._error_m(prediction.mean_km, target_km)
        distance = prediction.squared_distances(target_km)
        values = {
            "val_loss": loss,
            "val_median_error_m": float(np.median(error_m)),
            "val_coverage_68": float(np.mean(distance <= CHI_SQUARED_2[68])),
        }
        self.log_dict(
            {k: torch.tensor(v, dtype=torch.float32) for k, v in values.items()}, batch_size=len(target_km)
        )

    def _error_m(self, predicted_km: np.ndarray, target_km: np.ndarray) -> np.ndarray:
        predicted = to_degrees(*predicted_km.T, origin=self.construction.origin)
        return distance_m(*predicted, *to_degrees(*target_km.T, origin=self.construction.origin))

    def describe_step(self) -> str:
        """Where the training is: step, epoch, learning rate, gradient norm."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, Optimizer)
        return (
            f"at step {self.global_step} of epoch {self.current_epoch + 1} "
            f"(learning rate {optimizer.param_groups[0]['lr']:.3g}, "
            f"gradient norm {float(self._grad_norm):.3g})"
        )

    def _is_step_due(self) -> bool:
        trainer = self.trainer
        return trainer.is_last_batch or (self._batch_idx + 1) % trainer.accumulate_grad_batches == 0

    def _require_finite(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} {self.describe_step()}",
                code="loss_not_finite",
                hint="Use a smaller training.learning_rate, keep training.gradient_clip, or precision fp32.",
            )


def _seed(seed: int, device: torch.device) -> None:
    """``torch.manual_seed`` for one device: looking for others takes it 0.1 ms on a host with none."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
