"""What the network says of a transmitter's place: a Gaussian in the local plane."""

from typing import NamedTuple

from torch import Tensor


class PlanePrediction(NamedTuple):
    """A bivariate Gaussian for each of B sessions, in the plane about the dataset's origin."""

    mean_km: Tensor
    """(B, 2) east, north."""
    sigma_km: Tensor
    """(B, 2) standard deviations east, north; always positive."""
    correlation: Tensor | None
    """(B, 1) in (-1, 1); None: the axes are independent."""
