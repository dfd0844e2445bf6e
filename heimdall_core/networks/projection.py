"""From the local plane to degrees inside the graph: a polynomial fitted to pyproj."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heimdall_core.recordings.geodesy import to_degrees

#: Radius, km, inside which the polynomial is fitted; it is promised to 300 km.
FIT_RADIUS_KM = 320.0
_DEGREE = 10
_NUM_RINGS, _NUM_DIRECTIONS = 40, 120


class PlaneToDegrees(nn.Module):
    """Azimuthal equidistant plane about ``origin`` (latitude, longitude) to WGS-84 degrees.

    Latitude and longitude less the origin's are polynomials of degree 10 in east and north, fitted in double
    precision. Inside 300 km they agree with pyproj within 1 m up to 70 degrees of latitude; most of
    the rest is the rounding of float32 degrees.
    """

    coefficients: Tensor
    origin: Tensor

    def __init__(self, origin: tuple[float, float]) -> None:
        super().__init__()
        rounded = torch.tensor(origin, dtype=torch.float32)
        coefficients = _fit(origin)
        # What float32 cannot hold of the origin goes into the constant term.
        coefficients[0, 0] += np.asarray(origin) - rounded.double().numpy()
        self.register_buffer("coefficients", torch.from_numpy(coefficients).float())
        self.register_buffer("origin", rounded)

    def forward(self, plane_km: Tensor) -> Tensor:
        """(B, 2) east, north, km -> (B, 2) latitude, longitude, degrees."""
        powers_B2K = _powers(plane_km.float() / FIT_RADIUS_KM)
        monomials_BKK = powers_B2K[:, 0, :, None] * powers_B2K[:, 1, None, :]
        offset_B2 = (monomials_BKK[..., None] * self.coefficients).sum(dim=(1, 2))
        degrees_B2 = self.origin + offset_B2
        latitude, longitude = degrees_B2[:, :1], degrees_B2[:, 1:]
        longitude = torch.where(longitude > 180.0, longitude - 360.0, longitude)
        longitude = torch.where(longitude < -180.0, longitude + 360.0, longitude)
        return torch.cat([latitude, longitude], dim=1)


def _powers(x_B2: Tensor) -> Tensor:
    """(B, 2) -> (B, 2, degree + 1): x^0, x^1, ... by repeated multiplication."""
    powers = [torch.ones_like(x_B2)]
    for _ in range(_DEGREE):
        powers.append(powers[-1] * x_B2)
    return torch.stack(powers, dim=-1)


def _fit(origin: tuple[float, float]) -> NDArray[np.float64]:
    """Least squares over rings about the origin: (degree + 1, degree + 1, 2)."""
    radius = np.sqrt(np.linspace(0.0, 1.0, _NUM_RINGS))[:, None]
    bearing = np.linspace(0.0, 2.0 * np.pi, _NUM_DIRECTIONS, endpoint=False)
    east, north = (radius * np.sin(bearing)).ravel(), (radius * np.cos(bearing)).ravel()
    latitude, longitude = to_degrees(east * FIT_RADIUS_KM, north * FIT_RADIUS_KM, origin=origin)
    offset = np.stack([latitude - origin[0], (longitude - origin[1] + 180.0) % 360.0 - 180.0], axis=1)
    exponents = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    design = np.stack([east**i * north**j for i, j in exponents], axis=1)
    solution = np.linalg.lstsq(design, offset, rcond=None)[0]
    coefficients = np.zeros((_DEGREE + 1, _DEGREE + 1, 2))
    for (i, j), values in zip(exponents, solution, strict=True):
        coefficients[i, j] = values
    return coefficients
