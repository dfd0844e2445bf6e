"""Gaussian negative log-likelihood, optionally weighted so that hard places are still learnt."""

import math

import torch
from torch import Tensor, nn

from heimdall_core.networks.prediction import Components

_LOG_2PI = math.log(2.0 * math.pi)


class GaussianNLLLoss(nn.Module):
    """Mean beta-NLL of bivariate Gaussians, natural logarithm, density per km2.

    The beta-NLL (Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation with
    Probabilistic Neural Networks", ICLR 2022) multiplies each term by its variance to the power beta
    without a gradient through the factor: beta 0 is the plain likelihood, beta 1 weighs residuals as
    the squared error does. With independent axes every axis carries its own factor; a full covariance
    carries det(covariance)^(beta / 2), which is the same where the axes are alike; a mixture, that of its own
    covariance.

    Args:
        beta: 0 to 1.
        unit_km: the length in which the factors' variances are counted; it scales the loss as a whole, so
            that the gradient has the same size for a city as for a country. No effect with beta 0.
    """

    def __init__(self, beta: float = 0.5, *, unit_km: float = 1.0) -> None:
        super().__init__()
        if not 0.0 <= beta <= 1.0:
            raise ValueError(f"beta must lie in 0..1, not {beta:g}")
        if unit_km <= 0.0:
            raise ValueError(f"unit_km must be positive, not {unit_km:g}")
        self.beta = beta
        self.unit_km = unit_km

    def forward(
        self,
        mean_km: Tensor,
        sigma_km: Tensor,
        target_km: Tensor,
        correlation: Tensor | None = None,
        components: Components | None = None,
    ) -> Tensor:
        """(B, 2), (B, 2), (B, 2), (B, 1) or None, and the mixture that these stand for or None -> scalar."""
        residual = (target_km - mean_km) / sigma_km
        if correlation is None:
            nll_B2 = 0.5 * (residual.square() + _LOG_2PI) + sigma_km.log()
            return (nll_B2 * self._weight(sigma_km)).sum(-1).mean()
        if components is None:
            nll_B = correlated_nll(residual, sigma_km, correlation.squeeze(-1))
        else:
            nll_B = mixture_nll(components, target_km)
            if not self.training:  # then these may stand for the mixture about another place than its mean
                sigma_km, correlation = components.spread_about(components.mean())
        scale_B = (sigma_km.prod(-1) * (1.0 - correlation.squeeze(-1).square()).sqrt()).sqrt()
        return (nll_B * self._weight(scale_B)).mean()

    def _weight(self, sigma_km: Tensor) -> Tensor:
        if self.beta == 0.0:
            return torch.ones_like(sigma_km)
        return (sigma_km.detach() / self.unit_km).pow(2.0 * self.beta)


def correlated_nll(residual: Tensor, sigma_km: Tensor, correlation: Tensor) -> Tensor:
    """NLL (...) of standardised residuals (..., 2) under correlation coefficients (...)."""
    east, north = residual.unbind(-1)
    free = 1.0 - correlation.square()
    distance = (east.square() - 2.0 * correlation * east * north + north.square()) / free
    return _LOG_2PI + sigma_km.log().sum(-1) + 0.5 * (free.log() + distance)


def mixture_nll(components: Components, target_km: Tensor) -> Tensor:
    """NLL (B,) of targets (B, 2) under mixtures."""
    residual = (target_km[:, None] - components.mean_km) / components.sigma_km
    nll_BK = correlated_nll(residual, components.sigma_km, components.correlation)
    return -torch.logsumexp(components.log_weight - nll_BK, dim=1)
