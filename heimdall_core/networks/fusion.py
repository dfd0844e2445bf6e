"""What a radio map makes of the levels, multiplied into the network's own answer."""

import math

import torch
from torch import Tensor, nn

from heimdall_core.domain.spec import PointEstimate
from heimdall_core.features import rows
from heimdall_core.networks.prediction import Components, PlanePrediction, geometric_median

_SNR = rows.SNR_ROW - rows.FIRST_SIDE_ROW
_PRESENCE = rows.PRESENCE_ROW - rows.FIRST_SIDE_ROW
_LOG_2PI = math.log(2.0 * math.pi)
_LARGEST_CORRELATION = 0.999
"""That of a network's own Gaussian ends below it."""


class RadioFusion(nn.Module):
    """The density of a network's Gaussian times the likelihood of the levels under a radio map.

    Both read the same levels, so the likelihood has an exponent of at most 1 (a logarithmic opinion pool,
    Genest and Zidek 1986). The product lives on the map's cells; as much of the Gaussian as lies beside them
    stays what it was, for there the map says nothing. Returned are the mean, or the geometric median, and the
    second moments of the whole about it.

    Its buffers are no part of the state that is saved: like the calibration they are fitted after training.

    Args:
        cells_km: (C, 2) east, north of the centres of square cells.
        cell_km: their side.
        mean_db: (R, C) SNR expected in each cell; NaN: the receiver has no map.
        sigma_db: (R, C) of a single recording there.
        exponent: of the likelihood, 0 to 1.
        stretch: of the network's standard deviations before they are multiplied.
    """

    cells_km: Tensor
    centre_db: Tensor
    constant: Tensor
    linear: Tensor
    quadratic: Tensor

    def __init__(
        self,
        *,
        cells_km: Tensor,
        cell_km: float,
        mean_db: Tensor,
        sigma_db: Tensor,
        exponent: float,
        stretch: float,
    ) -> None:
        super().__init__()
        self.cell_km = cell_km
        self.exponent = exponent
        self.stretch = stretch
        centre_db = mean_db.nanmean(dim=1).nan_to_num()
        level = mean_db - centre_db[:, None]
        precision = sigma_db.square().reciprocal()
        # The logarithm of a normal density as a polynomial of the level, for a product of matrices.
        for name, values in {
            "cells_km": cells_km,
            "centre_db": centre_db,
            "constant": -0.5 * level.square() * precision - sigma_db.log(),
            "linear": level * precision,
            "quadratic": -0.5 * precision,
        }.items():
            self.register_buffer(name, values.nan_to_num().float(), persistent=False)

    def forward(
        self, side_BR8: Tensor, prediction: PlanePrediction, point_estimate: PointEstimate = "mean"
    ) -> PlanePrediction:
        """Side rows averaged over time, (B, R, 8), and the network's Gaussian -> the Gaussian of both."""
        own = prediction._replace(sigma_km=prediction.sigma_km * self.stretch)
        density_BC = self._log_density(own)
        weight_BC = torch.softmax(density_BC + self.exponent * self.log_likelihood(side_BR8), dim=1)
        inside_B1 = (density_BC.exp().sum(1, keepdim=True) * self.cell_km**2).clamp(max=1.0)
        # What is narrower than a cell, cells cannot say better: the cube is 0.94 at two cells, 0.14 at 0.3.
        variance_B2 = own.sigma_km.square()
        resolved_B2 = (variance_B2 / (variance_B2 + self.cell_km**2 / 12.0)) ** 3
        inside_B1 = inside_B1 * resolved_B2.amin(1, keepdim=True)
        mean = weight_BC @ self.cells_km
        centre = inside_B1 * mean + (1.0 - inside_B1) * own.mean_km
        if point_estimate == "median":
            centre = self._median(weight_BC, inside_B1, own)
        offset = self.cells_km - mean[:, None]
        within = (weight_BC[..., None] * torch.cat([offset.square(), offset.prod(-1, True)], -1)).sum(1)
        return _joined(inside_B1, mean, within[:, :2], within[:, 2:], own, centre)

    def log_likelihood(self, side_BR8: Tensor) -> Tensor:
        """(B, C): of the levels of who heard, but for a constant of each session."""
        heard = (side_BR8[..., _PRESENCE] > 0.5).float()
        level = (side_BR8[..., _SNR].float() * rows.DB_SCALE - self.centre_db) * heard
        return level.square() @ self.quadratic + level @ self.linear + heard @ self.constant

    def _median(self, weight_BC: Tensor, inside_B1: Tensor, own: PlanePrediction) -> Tensor:
        """(B, 2): of the cells, and of points for what lies beside them."""
        alone = Components(
            log_weight=torch.zeros_like(inside_B1),
            mean_km=own.mean_km[:, None],
            sigma_km=own.sigma_km[:, None],
            correlation=_correlation(own),
        )
        beside, share = alone.points()
        cells = self.cells_km.expand(weight_BC.shape[0], -1, -1)
        weight = torch.cat([weight_BC[..., None] * inside_B1[:, None], share * (1.0 - inside_B1)[:, None]], 1)
        return geometric_median(torch.cat([cells, beside], 1), weight, self.cell_km)

    def _log_density(self, own: PlanePrediction) -> Tensor:
        """(B, C): the Gaussian's at the cells, per km²; no narrower than a cell."""
        sigma = (own.sigma_km.square() + self.cell_km**2 / 12.0).sqrt()
        east, north = ((self.cells_km - own.mean_km[:, None]) / sigma[:, None]).unbind(-1)
        rho = _correlation(own) * (own.sigma_km / sigma).prod(-1, keepdim=True)
        free = 1.0 - rho.square()
        distance = (east.square() - 2.0 * rho * east * north + north.square()) / free
        return -0.5 * (distance + free.log()) - sigma.log().sum(-1, keepdim=True) - _LOG_2PI


def _correlation(prediction: PlanePrediction) -> Tensor:
    """(B, 1)."""
    if prediction.correlation is None:
        return torch.zeros_like(prediction.sigma_km[:, :1])
    return prediction.correlation


def _joined(
    inside: Tensor,
    mean: Tensor,
    variance: Tensor,
    covariance: Tensor,
    own: PlanePrediction,
    centre: Tensor,
) -> PlanePrediction:
    """Second moments about a centre (B, 2): of a share ``inside`` (B, 1) these, of the rest the network's."""
    here, there = mean - centre, own.mean_km - centre
    spread = inside * (variance + here.square())
    spread = spread + (1.0 - inside) * (own.sigma_km.square() + there.square())
    shared = _correlation(own) * own.sigma_km.prod(-1, keepdim=True)
    shared = inside * (covariance + here.prod(-1, True)) + (1.0 - inside) * (shared + there.prod(-1, True))
    sigma = spread.sqrt()
    correlation = (shared / sigma.prod(-1, keepdim=True)).clamp(-_LARGEST_CORRELATION, _LARGEST_CORRELATION)
    return PlanePrediction(
        mean_km=centre,
        sigma_km=sigma,
        correlation=None if own.correlation is None else correlation,
    )
