"""``LocalizationNet``: spectrograms and levels of several receivers to a Gaussian over the map."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from heimdall_core.domain.spec import Backbone
from heimdall_core.networks.backbone import SIZES, create_backbone
from heimdall_core.networks.heads import Trunk
from heimdall_core.networks.levels import LevelEncoder
from heimdall_core.networks.prediction import PlanePrediction
from heimdall_core.networks.projection import PlaneToDegrees

Covariance = Literal["diagonal", "full"]

#: Standard deviations never fall below this share of ``plane_scale_km``.
_SMALLEST_SIGMA = 1e-3
#: Correlations stay inside this, so that the covariance is never singular.
_LARGEST_CORRELATION = 0.995
_METRES_PER_KM = 1e3


class LocalizationNet(nn.Module):
    """ConvNeXt over the spectrograms, a set of levels, and heads for position and uncertainty.

    ConvNeXt normalises what it sees, so the level of each receiver, which carries most of what is known
    about the position, also reaches the heads by a way of its own (``LevelEncoder``). There a receiver is
    known by its position; only the backbone's first layer counts receivers by channel.

    Args:
        num_receivers: R, the channels of the input in manifest order.
        backbone: one of ``heimdall_core.domain.spec.BACKBONES``.
        covariance: ``full`` also predicts the correlation of the east and north errors.
        origin: latitude and longitude of the plane's origin, degrees.
        plane_scale_km: the length that the heads count in; about the spread of the targets.
        pretrained: start the backbone from published ImageNet weights.
        freeze_backbone: leave the backbone's weights as they are.

    Raises:
        TrainingError: ``pretrained`` with a size that has no published weights.
        InfrastructureError: the published weights cannot be fetched.
    """

    calibration_scale: Tensor

    def __init__(
        self,
        num_receivers: int,
        backbone: Backbone = "micro",
        covariance: Covariance = "diagonal",
        *,
        origin: tuple[float, float],
        plane_scale_km: float = 50.0,
        pretrained: bool = False,
        freeze_backbone: bool = False,
    ) -> None:
        super().__init__()
        self.num_receivers = num_receivers
        self.covariance = covariance
        self.plane_scale_km = plane_scale_km
        self.freeze_backbone = freeze_backbone
        self.backbone = create_backbone(backbone, num_receivers, pretrained=pretrained)
        self.levels = LevelEncoder(num_receivers, scale_km=plane_scale_km)
        self.trunk = Trunk(SIZES[backbone].hidden_sizes[-1], self.levels.width)
        self.position_head = nn.Linear(self.trunk.width, 2)
        self.uncertainty_head = nn.Linear(self.trunk.width, 3 if covariance == "full" else 2)
        self.to_degrees = PlaneToDegrees(origin)
        self.register_buffer("calibration_scale", torch.tensor(1.0))
        if freeze_backbone:
            self.backbone.requires_grad_(requires_grad=False).eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, R, 128, 32) -> degrees (B, 2), sigmas in metres (B, 2) and, if full, correlation (B, 1)."""
        return self.to_outputs(self.plane(x))

    def plane(self, x: Tensor) -> PlanePrediction:
        """(B, R, 128, 32) -> the Gaussian in the local plane, float32 whatever the precision of the rest."""
        pooled = self.backbone(x).pooler_output
        features = self.trunk(pooled, self.levels(x))
        position = self.position_head(features).float()
        uncertainty = self.uncertainty_head(features).float()
        sigma = functional.softplus(uncertainty[:, :2]) + _SMALLEST_SIGMA
        correlation = None
        if self.covariance == "full":
            correlation = _LARGEST_CORRELATION * torch.tanh(uncertainty[:, 2:])
        return PlanePrediction(
            mean_km=position * self.plane_scale_km,
            sigma_km=sigma * self.plane_scale_km * self.calibration_scale,
            correlation=correlation,
        )

    def to_outputs(self, prediction: PlanePrediction) -> tuple[Tensor, ...]:
        """What the exported graph returns: degrees, metres and, if full, the correlation."""
        outputs = (self.to_degrees(prediction.mean_km), prediction.sigma_km * _METRES_PER_KM)
        return outputs if prediction.correlation is None else (*outputs, prediction.correlation)

    def set_calibration(self, scale: float) -> None:
        """Multiplies every sigma by ``scale`` from now on, in the exported graph too."""
        if not scale > 0.0:
            raise ValueError(f"the calibration scale must be positive, not {scale:g}")
        self.calibration_scale.fill_(scale)

    def set_sites(self, positions_R3: Tensor) -> None:
        """Tells the network where its receivers stand, heard or not; exported and saved with the weights.

        Args:
            positions_R3: as rows 125-127 hold them (``features.assembly.receiver_positions``); ``NOWHERE``
                for one that is not awaited.

        Raises:
            ValueError: there are more or fewer than ``num_receivers``.
        """
        if positions_R3.shape != self.levels.sites.shape:
            raise ValueError(f"{len(positions_R3)} positions for {self.num_receivers} receivers")
        self.levels.sites.copy_(positions_R3)

    def train(self, mode: bool = True) -> "LocalizationNet":
        """Training mode; a frozen backbone stays as it is."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self
