"""What the network says of a transmitter's place in the plane: a Gaussian, or a mixture and its moments."""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor


def _standard_normal(num_rings: int, on_ring: int) -> list[tuple[float, float]]:
    """Points of equal weight: rings of equal shares of the mass, each turned against the one inside it."""
    return [
        (radius * math.cos(angle), radius * math.sin(angle))
        for ring in range(num_rings)
        for radius in [math.sqrt(-2.0 * math.log1p(-(ring + 0.5) / num_rings))]
        for angle in (2.0 * math.pi * (i + ring / num_rings) / on_ring for i in range(on_ring))
    ]


_STANDARD_NORMAL = _standard_normal(num_rings=3, on_ring=8)
"""In place of each component."""
_ROUNDS = 24
_CLOSEST = 0.01
"""In the unit of length: a point nearer than that weighs no more."""


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

    def mean(self) -> Tensor:
        """(B, 2) east, north: of all places, the one with the smallest mean square distance."""
        return (self.log_weight.exp()[..., None] * self.mean_km).sum(1)

    def geometric_median(self, unit_km: float) -> Tensor:
        """(B, 2) east, north: of all places, the one with the smallest mean distance.

        Args:
            unit_km: as for ``geometric_median`` of points.
        """
        return geometric_median(*self.points(), unit_km)

    def spread_about(self, centre_km: Tensor) -> tuple[Tensor, Tensor]:
        """Root mean square distances (B, 2) and their correlation (B, 1) from a centre (B, 2)."""
        weight = self.log_weight.exp()[..., None]
        offset = self.mean_km - centre_km[:, None]
        sigma = (weight * (self.sigma_km.square() + offset.square())).sum(1).sqrt()
        within = self.correlation * self.sigma_km.prod(-1)
        covariance = (weight[..., 0] * (within + offset.prod(-1))).sum(1, keepdim=True)
        largest = 1.0 - torch.finfo(torch.float32).eps
        return sigma, (covariance / sigma.prod(-1, keepdim=True)).clamp(-largest, largest)

    def stretch(self, centre_km: Tensor, scale: Tensor) -> Self:
        """Stretched about a centre (B, 2): every distance from it grows by ``scale``."""
        offset = self.mean_km - centre_km[:, None]
        return self._replace(mean_km=centre_km[:, None] + offset * scale, sigma_km=self.sigma_km * scale)

    def points(self) -> tuple[Tensor, Tensor]:
        """Points (B, P, 2) in place of the mixture, and their weights (B, P, 1)."""
        first, second = self.mean_km.new_tensor(_STANDARD_NORMAL).unbind(-1)
        correlation = self.correlation[..., None]
        turned = correlation * first + (1.0 - correlation.square()).sqrt() * second
        whitened = torch.stack([first.expand_as(turned), turned], dim=-1)
        points = self.mean_km[:, :, None] + self.sigma_km[:, :, None] * whitened
        weight = (self.log_weight.exp() / len(_STANDARD_NORMAL))[..., None].expand(points.shape[:3])
        return points.flatten(1, 2), weight.flatten(1, 2)[..., None]


class PlanePrediction(NamedTuple):
    """A bivariate Gaussian for each of B sessions, in the plane about the dataset's origin."""

    mean_km: Tensor
    """(B, 2) east, north."""
    sigma_km: Tensor
    """(B, 2) standard deviations east, north; always positive."""
    correlation: Tensor | None
    """(B, 1) in (-1, 1); None: the axes are independent."""
    components: Components | None = None
    """The mixture that the Gaussian stands for; None: it is what the network says."""

    @classmethod
    def of_components(cls, components: Components, scale: Tensor, centre_km: Tensor | None = None) -> Self:
        """The Gaussian that stands for a mixture, both stretched by ``scale`` about the Gaussian's centre.

        Args:
            components: the mixture.
            scale: (), of every distance from the centre.
            centre_km: (B, 2), about which the Gaussian has the mixture's second moments; None: its mean.
        """
        centre_km = components.mean() if centre_km is None else centre_km
        sigma_km, correlation = components.spread_about(centre_km)
        return cls(
            mean_km=centre_km,
            sigma_km=sigma_km * scale,
            correlation=correlation,
            components=components.stretch(centre_km, scale),
        )


def geometric_median(points_km: Tensor, weight: Tensor, unit_km: float) -> Tensor:
    """The place (B, 2) with the smallest mean distance to points (B, P, 2) of weights (B, P, 1).

    Weiszfeld's algorithm (1937), a fixed number of rounds: the same graph for every input.

    Args:
        points_km: where the weights are.
        weight: not negative.
        unit_km: a hundredth of it is as near as distances are told apart.
    """
    closest = (_CLOSEST * unit_km) ** 2
    place = (weight * points_km).sum(1) / weight.sum(1)
    for _ in range(_ROUNDS):
        pull = weight / ((points_km - place[:, None]).square().sum(-1, keepdim=True) + closest).sqrt()
        place = (pull * points_km).sum(1) / pull.sum(1)
    return place
