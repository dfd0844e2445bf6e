"""The trunk that joins the spectrograms and the levels, and the heads for place and uncertainty."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from heimdall_core.domain.spec import PointEstimate
from heimdall_core.networks.prediction import Components, PlanePrediction

Covariance = Literal["diagonal", "full"]

#: Standard deviations never fall below this share of the scale that the heads count in.
_SMALLEST_SIGMA = 1e-3
#: Correlations stay inside this, so that no covariance is singular.
_LARGEST_CORRELATION = 0.995
_FIRST_SPREAD = 0.8
"""Standard deviation of where the components of a mixture begin, in units of the scale."""
_TRUNK_WIDTH = 128
_POOLED_WIDTH = 16
_POOLED_DROP = 0.5
_POOLED_GATE = 0.1


class Trunk(nn.Module):
    """Pooled spectrogram features and level embedding to what the heads share: (B, width).

    A spectrogram identifies its training session long before it says anything about place. So its features
    pass a narrow gate, and in training half of the sessions are answered without them (stochastic depth).
    """

    def __init__(self, pooled_width: int, level_width: int, width: int = _TRUNK_WIDTH) -> None:
        super().__init__()
        self.width = width
        self.pooled = nn.Linear(pooled_width, _POOLED_WIDTH)
        self.gate = nn.Parameter(torch.tensor(_POOLED_GATE))
        self.layers = nn.Sequential(nn.Linear(_POOLED_WIDTH + level_width, width), nn.GELU())

    def forward(self, pooled: Tensor, levels: Tensor) -> Tensor:
        """(B, pooled_width) and (B, level_width) -> (B, width)."""
        kept = functional.dropout(torch.ones_like(pooled[:, :1]), _POOLED_DROP, self.training)
        return self.layers(torch.cat([self.pooled(pooled) * self.gate * kept, levels], dim=1))


def position_head(width: int, components: int) -> nn.Linear:
    """To east and north of each component; the components of a mixture begin at different places."""
    head = nn.Linear(width, 2 * components)
    if components > 1:
        nn.init.normal_(head.bias, std=_FIRST_SPREAD)
    return head


def uncertainty_head(width: int, covariance: Covariance, components: int) -> nn.Linear:
    """To two standard deviations and, of a full covariance, a correlation of each component."""
    return nn.Linear(width, (3 if covariance == "full" else 2) * components)


def read_gaussian(position: Tensor, uncertainty: Tensor, scale_km: float) -> PlanePrediction:
    """What (B, 2) and (B, 2 or 3) outputs of the heads say."""
    sigma, correlation = _read_uncertainty(uncertainty)
    return PlanePrediction(
        mean_km=position * scale_km,
        sigma_km=sigma * scale_km,
        correlation=correlation if uncertainty.shape[-1] > 2 else None,
    )


def read_mixture(
    position: Tensor,
    uncertainty: Tensor,
    weight: Tensor,
    scale_km: float,
    stretch: Tensor,
    point_estimate: PointEstimate = "mean",
) -> PlanePrediction:
    """What (B, 2 K), (B, 3 K) and (B, K) outputs of the heads say: a mixture, stretched about its centre."""
    num_components = weight.shape[1]
    sigma, correlation = _read_uncertainty(uncertainty.reshape(-1, num_components, 3))
    components = Components(
        log_weight=functional.log_softmax(weight, dim=1),
        mean_km=position.reshape(-1, num_components, 2) * scale_km,
        sigma_km=sigma * scale_km,
        correlation=correlation[..., 0],
    )
    centre = components.geometric_median(scale_km) if point_estimate == "median" else None
    return PlanePrediction.of_components(components, stretch, centre)


def _read_uncertainty(uncertainty: Tensor) -> tuple[Tensor, Tensor]:
    sigma = functional.softplus(uncertainty[..., :2]) + _SMALLEST_SIGMA
    return sigma, _LARGEST_CORRELATION * torch.tanh(uncertainty[..., 2:])
