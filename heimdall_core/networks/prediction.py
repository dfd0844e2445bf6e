"""What the network says of a transmitter's place in the plane: a Gaussian, or a mixture and its moments."""

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Components(NamedTuple):
    """A mixture of K bivariate Gaussians for each of B sessions."""

    log_weight: Tensor
    """(B, K), of weights that sum to 1."""
    mean_km: Tensor
    """(B, K, 2) east, north."""
    sigma_km: Tensor
    """(B, K, 2) standard deviations east, north; always positive."""
    correlation: Tensor
    """(B, K) in (-1, 1)."""

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (B, 2), standard deviations (B, 2) and correlation (B, 1) of the mixture."""
        weight = self.log_weight.exp()[..., None]
        mean = (weight * self.mean_km).sum(1)
        offset = self.mean_km - mean[:, None]
        sigma = (weight * (self.sigma_km.square() + offset.square())).sum(1).sqrt()
        within = self.correlation * self.sigma_km.prod(-1)
        covariance = (weight[..., 0] * (within + offset.prod(-1))).sum(1, keepdim=True)
        return mean, sigma, covariance / sigma.prod(-1, keepdim=True)

    def spread(self, mean_km: Tensor, scale: Tensor) -> Self:
        """Stretched about a mean (B, 2): every standard deviation of the mixture grows by ``scale``."""
        offset = self.mean_km - mean_km[:, None]
        return self._replace(mean_km=mean_km[:, None] + offset * scale, sigma_km=self.sigma_km * scale)


class PlanePrediction(NamedTuple):
    """A bivariate Gaussian for each of B sessions, in the plane about the dataset's origin."""

    mean_km: Tensor
    """(B, 2) east, north."""
    sigma_km: Tensor
    """(B, 2) standard deviations east, north; always positive."""
    correlation: Tensor | None
    """(B, 1) in (-1, 1); None: the axes are independent."""
    components: Components | None = None
    """The mixture whose moments the Gaussian has; None: it is the Gaussian."""

    @classmethod
    def of_components(cls, components: Components, scale: Tensor) -> Self:
        """The moments of a mixture that is stretched by ``scale`` about its mean."""
        mean_km, sigma_km, correlation = components.moments()
        largest = 1.0 - torch.finfo(torch.float32).eps
        return cls(
            mean_km=mean_km,
            sigma_km=sigma_km * scale,
            correlation=correlation.clamp(-largest, largest),
            components=components.spread(mean_km, scale),
        )
