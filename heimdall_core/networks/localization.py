"""``LocalizationNet``: spectrograms and levels of several receivers to a Gaussian over the map."""

import torch
from torch import Tensor, nn

from heimdall_core.domain.spec import Backbone, PointEstimate
from heimdall_core.features import rows
from heimdall_core.networks.backbone import SIZES, create_backbone
from heimdall_core.networks.fusion import RadioFusion
from heimdall_core.networks.heads import (
    Covariance,
    Trunk,
    position_head,
    read_gaussian,
    read_mixture,
    uncertainty_head,
)
from heimdall_core.networks.levels import LevelEncoder
from heimdall_core.networks.prediction import Components, PlanePrediction
from heimdall_core.networks.projection import PlaneToDegrees

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
        components: K; more than 1, with a full covariance, predicts a mixture of K Gaussians. Position and
            uncertainty are then those of the mixture as a whole, about one place.
        point_estimate: that place: the mixture's mean, or its geometric median, which is nearer on average;
            also of what is fused with a radio map.
        origin: latitude and longitude of the plane's origin, degrees.
        plane_scale_km: the length that the heads count in; about the spread of the targets.
        pretrained: start the backbone from published ImageNet weights.
        freeze_backbone: leave the backbone's weights as they are.

    Raises:
        ValueError: a mixture of Gaussians whose axes are independent.
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
        components: int = 1,
        point_estimate: PointEstimate = "mean",
        origin: tuple[float, float],
        plane_scale_km: float = 50.0,
        pretrained: bool = False,
        freeze_backbone: bool = False,
    ) -> None:
        super().__init__()
        if components > 1 and covariance != "full":
            raise ValueError("a mixture needs covariance='full'")
        self.num_receivers = num_receivers
        self.covariance = covariance
        self.components = components
        self.point_estimate = point_estimate
        self.plane_scale_km = plane_scale_km
        self.freeze_backbone = freeze_backbone
        self.backbone = create_backbone(backbone, num_receivers, pretrained=pretrained)
        self.levels = LevelEncoder(num_receivers, scale_km=plane_scale_km)
        self.trunk = Trunk(SIZES[backbone].hidden_sizes[-1], self.levels.width)
        self.position_head = position_head(self.trunk.width, components)
        self.uncertainty_head = uncertainty_head(self.trunk.width, covariance, components)
        self.weight_head = nn.Linear(self.trunk.width, components) if components > 1 else None
        self.to_degrees = PlaneToDegrees(origin)
        self.register_buffer("calibration_scale", torch.tensor(1.0))
        self.fusion: RadioFusion | None = None
        if freeze_backbone:
            self.backbone.requires_grad_(requires_grad=False).eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, R, 128, 32) -> degrees (B, 2), sigmas in metres (B, 2) and, if full, correlation (B, 1).

        Of a mixture also its K components: weights (B, K), degrees (B, K, 2), sigmas in metres (B, K, 2) and
        correlations (B, K).
        """
        return self.to_outputs(self.plane(x))

    def plane(self, x: Tensor) -> PlanePrediction:
        """(B, R, 128, 32) -> the Gaussian in the local plane, float32 whatever the precision of the rest."""
        pooled = self.backbone(x).pooler_output
        features = self.trunk(pooled, self.levels(x))
        position = self.position_head(features).float()
        uncertainty = self.uncertainty_head(features).float()
        if self.weight_head is None:
            found = read_gaussian(position, uncertainty, self.plane_scale_km)
            if self.fusion is not None and not self.training:
                found = self.fusion(x[:, :, rows.FIRST_SIDE_ROW :].mean(-1), found, self.point_estimate)
            return found._replace(sigma_km=found.sigma_km * self.calibration_scale)
        weight = self.weight_head(features).float()
        # A training looks at the components alone.
        point: PointEstimate = "mean" if self.training else self.point_estimate
        return read_mixture(position, uncertainty, weight, self.plane_scale_km, self.calibration_scale, point)

    def to_outputs(self, prediction: PlanePrediction) -> tuple[Tensor, ...]:
        """What the exported graph returns: degrees, metres and, if full, the correlation; any components."""
        outputs: tuple[Tensor, ...] = (
            self.to_degrees(prediction.mean_km),
            prediction.sigma_km * _METRES_PER_KM,
        )
        if prediction.correlation is not None:
            outputs = (*outputs, prediction.correlation)
        if prediction.components is not None:
            outputs = (*outputs, *self._component_outputs(prediction.components))
        return outputs

    def _component_outputs(self, components: Components) -> tuple[Tensor, ...]:
        degrees = self.to_degrees(components.mean_km.flatten(0, 1))
        return (
            components.log_weight.exp(),
            degrees.reshape(-1, self.components, 2),
            components.sigma_km * _METRES_PER_KM,
            components.correlation,
        )

    def set_calibration(self, scale: float) -> None:
        """Multiplies every sigma by ``scale`` from now on, in the exported graph too."""
        if not scale > 0.0:
            raise ValueError(f"the calibration scale must be positive, not {scale:g}")
        self.calibration_scale.fill_(scale)

    def fuse(self, fusion: RadioFusion | None) -> None:
        """Multiplies the likelihood under a radio map into every answer from now on; None: no longer.

        Raises:
            ValueError: the network predicts a mixture.
        """
        if fusion is not None and self.components > 1:
            raise ValueError("a mixture is not fused with a radio map")
        self.fusion = fusion

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
