"""Shadowing that is fixed by place: one random field for each receiver over the box of transmitters."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RegularGridInterpolator

from heimdall_core.simulation.rendering import stream_generator
from heimdall_core.simulation.sites import EAST_KM, NORTH_KM, SITES

Float = NDArray[np.float64]

NODE_KM: Final = 0.5
"""Distance of the nodes at which the field is drawn."""

_MARGIN_LENGTHS: Final = 12
"""Correlation lengths between a field and its periodic image: correlation below 1e-5."""
_MAP: Final = 4
"""Key of this module's random stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowMap:
    """Gaussian fields, stationary and exponentially correlated in place (M. Gudmundson, 1991).

    Variance and correlation are exact at the nodes, which lie every 500 m. Between them the field is
    bilinear, so it is smoother there: with a correlation length of 5 km the middle of a cell has 0.92 of the
    variance. Whoever knows the map knows it everywhere.
    """

    sigma_db: float
    correlation_km: float
    """Distance over which the correlation falls to 1/e."""
    twins: tuple[int, int]
    """Two receivers (places in ``SITES``) that stand so near each other that they share obstacles."""
    twin_correlation: float
    """Correlation of the twins' fields at the same place; all other pairs are independent."""
    seed: int

    def at(self, east_km: ArrayLike, north_km: ArrayLike) -> Float:
        """Shadowing of a transmitter at places inside the box, dB, (..., R).

        Raises:
            ValueError: a place lies outside the box.
        """
        places = np.stack(np.broadcast_arrays(np.asarray(east_km, float), north_km), axis=-1)
        return np.asarray(_interpolator(self)(places)).reshape(*places.shape[:-1], len(SITES))

    def nodes_db(self) -> Float:
        """The field at the nodes, (E, N, R), from the box's south-western corner."""
        return np.asarray(_interpolator(self).values)


@lru_cache(maxsize=4)
def _interpolator(settings: ShadowMap) -> RegularGridInterpolator:
    axes = tuple(np.linspace(low, high, _num_nodes(low, high)) for low, high in (EAST_KM, NORTH_KM))
    return RegularGridInterpolator(axes, _fields(settings, (len(axes[0]), len(axes[1]))), "linear")


def _num_nodes(low_km: float, high_km: float) -> int:
    return round((high_km - low_km) / NODE_KM) + 1


def _fields(settings: ShadowMap, shape: tuple[int, int]) -> Float:
    """White noise filtered to the wanted covariance on a torus that holds the box, (*shape, R)."""
    margin = round(_MARGIN_LENGTHS * settings.correlation_km / NODE_KM)
    torus = tuple(scipy.fft.next_fast_len(n + margin, real=True) for n in shape)
    rng = stream_generator(settings.seed, _MAP)
    white = rng.standard_normal((len(SITES), *torus))
    first, second = settings.twins
    rho = settings.twin_correlation
    white[second] = rho * white[first] + np.sqrt(1.0 - rho**2) * white[second]
    spectrum = scipy.fft.rfft2(white) * np.sqrt(_power_spectrum(settings, torus))
    fields = scipy.fft.irfft2(spectrum, torus)[:, : shape[0], : shape[1]]
    return np.ascontiguousarray(np.moveaxis(fields, 0, -1))


def _power_spectrum(settings: ShadowMap, torus: tuple[int, ...]) -> Float:
    """Of the covariance ``sigma^2 exp(-distance / length)``, distances measured around the torus."""
    steps = [NODE_KM * np.minimum(np.arange(n), n - np.arange(n)) for n in torus]
    distance_km = np.hypot(steps[0][:, np.newaxis], steps[1])
    covariance = settings.sigma_db**2 * np.exp(-distance_km / settings.correlation_km)
    return np.asarray(np.maximum(scipy.fft.rfft2(covariance).real, 0.0))
