"""Predictions of whole sessions: averages over their segments, and the temperature that calibrates them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.networks import LocalizationNet, PlanePrediction
from heimdall_core.networks.prediction import Components
from heimdall_core.recordings.geodesy import to_degrees, to_plane_km
from heimdall_core.training.datamodule import evaluation_loader
from heimdall_core.training.dataset import HeimdallDataset

Float = NDArray[np.float64]
_SCALE_LIMITS = (0.05, 20.0)


_SMALLEST_WEIGHT = 1e-30
_LOG_M2_PER_KM2 = float(np.log(1e6))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneMixtures:
    """N mixtures of K Gaussians in the local plane."""

    weight: Float
    """(N, K), each row of sum 1."""
    mean_km: Float
    """(N, K, 2) east, north."""
    sigma_km: Float
    """(N, K, 2) standard deviations east, north."""
    correlation: Float
    """(N, K), in (-1, 1)."""

    def nll(self, target_km: Float) -> Float:
        """(N,): negative log-likelihood of the targets (N, 2), nats per km²."""
        nll_NK = _nll(target_km[:, None] - self.mean_km, self.sigma_km, self.correlation)
        return -np.asarray(logsumexp(-nll_NK, b=self.weight, axis=1))

    def spread(self, mean_km: Float, scale: float) -> "PlaneMixtures":
        """Stretched about their means (N, 2)."""
        offset = self.mean_km - mean_km[:, None]
        return replace(self, mean_km=mean_km[:, None] + offset * scale, sigma_km=self.sigma_km * scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneGaussians:
    """N Gaussian predictions in the local plane."""

    mean_km: Float
    """(N, 2) east, north."""
    sigma_km: Float
    """(N, 2) standard deviations east, north."""
    correlation: Float
    """(N,), in (-1, 1)."""
    mixtures: PlaneMixtures | None = None
    """The mixtures that the Gaussians stand for; None: they are what the network says."""

    @staticmethod
    def concatenate(parts: Sequence["PlaneGaussians"]) -> "PlaneGaussians":
        """One after another; all of them with mixtures, or none."""
        mixtures = [p.mixtures for p in parts if p.mixtures is not None]
        return PlaneGaussians(
            mean_km=np.concatenate([p.mean_km for p in parts]),
            sigma_km=np.concatenate([p.sigma_km for p in parts]),
            correlation=np.concatenate([p.correlation for p in parts]),
            mixtures=PlaneMixtures(
                **{
                    name: np.concatenate([getattr(m, name) for m in mixtures])
                    for name in ("weight", "mean_km", "sigma_km", "correlation")
                }
            )
            if mixtures
            else None,
        )

    def squared_distances(self, target_km: Float) -> Float:
        """(N,): squared Mahalanobis distances to the targets (N, 2)."""
        return _squared_distances(target_km - self.mean_km, self.sigma_km, self.correlation)

    def nll(self, target_km: Float) -> Float:
        """(N,): negative log-likelihood of the targets under the Gaussians, nats per km²."""
        return _nll(target_km - self.mean_km, self.sigma_km, self.correlation)

    def density_nll(self, target_km: Float) -> Float:
        """(N,): negative log-likelihood under what the network says, mixtures if it says mixtures."""
        return self.nll(target_km) if self.mixtures is None else self.mixtures.nll(target_km)

    def mixture_nll_per_m2(self, target_km: NDArray[np.floating[Any]]) -> float | None:
        """Mean negative log-likelihood under the mixtures, nats per m²; None: the network predicts none."""
        if self.mixtures is None:
            return None
        return float(self.mixtures.nll(target_km.astype(np.float64)).mean() + _LOG_M2_PER_KM2)

    def spread(self, scale: float) -> "PlaneGaussians":
        """Every standard deviation multiplied by ``scale``."""
        mixtures = None if self.mixtures is None else self.mixtures.spread(self.mean_km, scale)
        return replace(self, sigma_km=self.sigma_km * scale, mixtures=mixtures)


def _squared_distances(residual_km: Float, sigma_km: Float, correlation: Float) -> Float:
    """Residuals and sigmas (..., 2), correlations (...) -> (...)."""
    east, north = np.moveaxis(residual_km / sigma_km, -1, 0)
    return np.asarray((east**2 + north**2 - 2 * correlation * east * north) / (1.0 - correlation**2))


def _nll(residual_km: Float, sigma_km: Float, correlation: Float) -> Float:
    log_determinant = np.log(sigma_km).sum(axis=-1) + 0.5 * np.log1p(-(correlation**2))
    distance = _squared_distances(residual_km, sigma_km, correlation)
    return np.asarray(np.log(2 * np.pi) + log_determinant + 0.5 * distance)


def average_segments(prediction: PlanePrediction, item_S: Tensor, num_items: int) -> PlaneGaussians:
    """Averages means and covariances over the segments of each item, component by component of a mixture.

    The segments of a session share path, shadowing and geometry, so their errors hardly average out:
    the covariance of the average is taken as the average covariance.
    """
    correlation_S = (
        torch.zeros_like(prediction.sigma_km[:, 0])
        if prediction.correlation is None
        else prediction.correlation.reshape(-1)
    )
    moments = _average(
        torch.ones_like(correlation_S),
        prediction.mean_km,
        prediction.sigma_km,
        correlation_S,
        item_S,
        num_items,
    )
    components = prediction.components
    return PlaneGaussians(
        mean_km=moments.mean_km,
        sigma_km=moments.sigma_km,
        correlation=moments.correlation,
        mixtures=None if components is None else _average_components(components, item_S, num_items),
    )


def _average_components(components: Components, item_S: Tensor, num_items: int) -> PlaneMixtures:
    weight_SK = components.log_weight.double().exp().clamp_min(_SMALLEST_WEIGHT)
    num_components = weight_SK.shape[1]
    slot_SK = item_S[:, None] * num_components + torch.arange(num_components, device=item_S.device)
    flat = _average(
        weight_SK.flatten(),
        components.mean_km.flatten(0, 1),
        components.sigma_km.flatten(0, 1),
        components.correlation.flatten(),
        slot_SK.flatten(),
        num_items * num_components,
    )
    weight = flat.weight.reshape(num_items, num_components)
    return PlaneMixtures(
        weight=weight / weight.sum(axis=1, keepdims=True),
        mean_km=flat.mean_km.reshape(num_items, num_components, 2),
        sigma_km=flat.sigma_km.reshape(num_items, num_components, 2),
        correlation=flat.correlation.reshape(num_items, num_components),
    )


def _average(
    weight_S: Tensor, mean_km: Tensor, sigma_km: Tensor, correlation_S: Tensor, slot_S: Tensor, num_slots: int
) -> PlaneMixtures:
    """Weighted means and covariances of S Gaussians by slot; the weights of each slot, added up."""
    mean_S2, variance_S2, weight_S1 = mean_km.double(), sigma_km.double() ** 2, weight_S.double()[:, None]
    covariance_S = correlation_S.double() * variance_S2.prod(dim=1).sqrt()
    columns = torch.cat([mean_S2, variance_S2, covariance_S[:, None]], dim=1) * weight_S1
    sums = columns.new_zeros(num_slots, columns.shape[1]).index_add_(0, slot_S, columns)
    weight = columns.new_zeros(num_slots, 1).index_add_(0, slot_S, weight_S1)
    table = (sums / weight).cpu().numpy()
    sigma = np.sqrt(table[:, 2:4])
    return PlaneMixtures(
        weight=weight[:, 0].cpu().numpy(),
        mean_km=table[:, :2],
        sigma_km=sigma,
        correlation=table[:, 4] / sigma.prod(axis=1),
    )


def read_mixtures(
    outputs: Sequence[NDArray[np.float32]], counts: Sequence[int], origin: tuple[float, float]
) -> PlaneGaussians:
    """What an exported mixture's outputs for the segments of sessions, so many each, say of each session."""
    positions, sigma_m, correlation, weight, *places = (output.astype(np.float64) for output in outputs)
    plane = PlanePrediction(
        mean_km=_in_plane(positions, origin),
        sigma_km=torch.from_numpy(sigma_m / 1e3),
        correlation=torch.from_numpy(correlation),
        components=Components(
            log_weight=torch.from_numpy(weight).clamp_min(_SMALLEST_WEIGHT).log(),
            mean_km=_in_plane(places[0], origin),
            sigma_km=torch.from_numpy(places[1] / 1e3),
            correlation=torch.from_numpy(places[2]),
        ),
    )
    item_S = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    return average_segments(plane, item_S, len(counts))


def _in_plane(degrees: NDArray[np.float64], origin: tuple[float, float]) -> Tensor:
    east_km, north_km = to_plane_km(degrees[..., 0], degrees[..., 1], origin=origin)
    return torch.from_numpy(np.stack([east_km, north_km], axis=-1))


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
