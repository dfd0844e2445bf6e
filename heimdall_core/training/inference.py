"""Predictions of whole sessions: averages over their segments, and the temperature that calibrates them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.networks import LocalizationNet, PlanePrediction
from heimdall_core.recordings.geodesy import to_degrees
from heimdall_core.training.datamodule import evaluation_loader
from heimdall_core.training.dataset import HeimdallDataset

Float = NDArray[np.float64]
_SCALE_LIMITS = (0.05, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneGaussians:
    """N Gaussian predictions in the local plane."""

    mean_km: Float
    """(N, 2) east, north."""
    sigma_km: Float
    """(N, 2) standard deviations east, north."""
    correlation: Float
    """(N,), in (-1, 1)."""

    @staticmethod
    def concatenate(parts: Sequence["PlaneGaussians"]) -> "PlaneGaussians":
        """One after another."""
        return PlaneGaussians(
            mean_km=np.concatenate([p.mean_km for p in parts]),
            sigma_km=np.concatenate([p.sigma_km for p in parts]),
            correlation=np.concatenate([p.correlation for p in parts]),
        )

    def squared_distances(self, target_km: Float) -> Float:
        """(N,): squared Mahalanobis distances to the targets (N, 2)."""
        east, north = ((target_km - self.mean_km) / self.sigma_km).T
        free = 1.0 - self.correlation**2
        return np.asarray((east**2 + north**2 - 2 * self.correlation * east * north) / free)

    def nll(self, target_km: Float) -> Float:
        """(N,): negative log-likelihood of the targets, nats per km²."""
        log_determinant = np.log(self.sigma_km).sum(axis=1) + 0.5 * np.log1p(-(self.correlation**2))
        return np.asarray(np.log(2 * np.pi) + log_determinant + 0.5 * self.squared_distances(target_km))


def average_segments(prediction: PlanePrediction, item_S: Tensor, num_items: int) -> PlaneGaussians:
    """Averages means and covariances over the segments of each item.

    The segments of a session share path, shadowing and geometry, so their errors hardly average out:
    the covariance of the average is taken as the average covariance.
    """
    mean_S2 = prediction.mean_km.double()
    variance_S2 = prediction.sigma_km.double() ** 2
    product_S = variance_S2.prod(dim=1).sqrt()
    if prediction.correlation is None:
        covariance_S = torch.zeros_like(product_S)
    else:
        covariance_S = prediction.correlation.double().reshape(-1) * product_S
    columns = torch.cat([mean_S2, variance_S2, covariance_S[:, None]], dim=1)
    sums = columns.new_zeros(num_items, columns.shape[1]).index_add_(0, item_S, columns)
    table = (sums / torch.bincount(item_S, minlength=num_items)[:, None]).cpu().numpy()
    sigma = np.sqrt(table[:, 2:4])
    return PlaneGaussians(mean_km=table[:, :2], sigma_km=sigma, correlation=table[:, 4] / sigma.prod(axis=1))


@torch.no_grad()
def predict(
    net: LocalizationNet, dataset: HeimdallDataset, on_progress: Callable[[float], None] = lambda _: None
) -> PlaneGaussians:
    """The predictions of every session of a dataset, in order; the network is put into eval mode.

    ``on_progress`` is told the share that is done before each batch; what it raises ends the work.
    """
    net.eval()
    device = next(net.parameters()).device
    loader, parts = evaluation_loader(dataset), []
    for number, batch in enumerate(loader):
        on_progress(number / len(loader))
        plane = net.plane(batch.inputs.to(device))
        parts.append(average_segments(plane, batch.item.to(device), len(batch.indices)))
    return PlaneGaussians.concatenate(parts)


def to_predictions(prediction: PlaneGaussians, origin: tuple[float, float]) -> Predictions:
    """In degrees and metres, as the evaluation reads them."""
    degrees = np.stack(to_degrees(*prediction.mean_km.T, origin=origin), axis=1)
    return Predictions.of(degrees, prediction.sigma_km * 1e3, prediction.correlation)


def fit_calibration(prediction: PlaneGaussians, target_km: Float) -> float:
    """The factor on sigma that maximises the likelihood of the targets: sqrt(mean d² / 2).

    Closed form for a Gaussian in two dimensions (Guo et al. 2017 call its square a temperature).
    """
    scale = float(np.sqrt(prediction.squared_distances(target_km).mean() / 2))
    return float(np.clip(scale, *_SCALE_LIMITS))
