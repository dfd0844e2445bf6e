"""The Cramér-Rao bound of locating by received levels.

N. Patwari et al., IEEE Trans. Signal Process. 51(8), 2003, for log-normal shadowing. The
transmitter's power is a nuisance with a Gaussian prior, over which the information is averaged (the
hybrid bound). A receiver that may stay silent gives the information of a censored level. The bound
holds for estimators without bias that know nothing of the box: where levels say little it exceeds
what the Bayes-optimal estimator reaches, and is printed beside that, not below it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from heimdall_core.simulation.level_likelihood import silence_probability
from heimdall_core.simulation.link_budget import EIRP_SIGMA_DB, HEARING_THRESHOLD_DB, MISSING_PROBABILITY
from heimdall_core.simulation.world import WorldDraw

Float = NDArray[np.float64]

_NUM_POWERS: Final = 9
_STEP_KM: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CramerRaoBound:
    """At the true places of N sessions."""

    covariance_km2: Float
    """(N, 2, 2) least covariance of east and north."""

    @property
    def rms_error_km(self) -> Float:
        """(N,) least root mean squared error."""
        return np.asarray(np.sqrt(np.trace(self.covariance_km2, axis1=1, axis2=2)))


def cramer_rao_bound(draw: WorldDraw, *, all_hear: bool = False) -> CramerRaoBound:
    """The bound at each session's true place, band known.

    Args:
        draw: places and bands; levels are not looked at.
        all_hear: every receiver measures every transmission, as in the paper; else receivers are off or
            do not hear as often as in the world, and silence informs.

    Raises:
        ValueError: the world has a shadow map or fading, for which the bound is not this one.
    """
    if draw.world.shadow_map is not None or draw.world.fading is not None:
        raise ValueError(
            f"the Cramér-Rao bound is that of log-normal shadowing alone, not of {draw.world.name}"
        )
    sigma_db = draw.world.shadowing_sigma_db
    weight_NR = _mean_information(draw, sigma_db, all_hear)
    slope_NR3 = np.concatenate([_slopes(draw), np.ones((*weight_NR.shape, 1))], axis=-1)
    information = np.einsum("nr,nri,nrj->nij", weight_NR, slope_NR3, slope_NR3)
    information[:, 2, 2] += EIRP_SIGMA_DB**-2
    return CramerRaoBound(covariance_km2=np.linalg.inv(information)[:, :2, :2])


def censored_information(median_db: Float, sigma_db: float) -> Float:
    """Fisher information about the median that one receiver gives by its level or its silence, per dB2."""
    z = (HEARING_THRESHOLD_DB - median_db) / sigma_db
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    on = 1.0 - MISSING_PROBABILITY
    heard = on * (z * density + ndtr(-z))
    silent = np.square(on * density) / silence_probability(median_db, sigma_db)
    return np.asarray((heard + silent) / sigma_db**2)


def _mean_information(draw: WorldDraw, sigma_db: float, all_hear: bool) -> Float:
    """Averaged over the transmitter's power, (N, R)."""
    median = draw.world.median_snr_db(draw.east_km, draw.north_km, draw.frequency_hz)
    if all_hear:
        return np.full_like(median, sigma_db**-2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NUM_POWERS)
    weights /= weights.sum()
    parts = [
        w * censored_information(median + EIRP_SIGMA_DB * x, sigma_db)
        for x, w in zip(nodes, weights, strict=True)
    ]
    return np.asarray(np.sum(parts, axis=0))


def _slopes(draw: WorldDraw) -> Float:
    """Change of the median level per km east and north, (N, R, 2)."""
    half = _STEP_KM / 2.0
    columns = []
    for east, north in ((half, 0.0), (0.0, half)):
        ahead, behind = (
            draw.world.median_snr_db(draw.east_km + s * east, draw.north_km + s * north, draw.frequency_hz)
            for s in (1.0, -1.0)
        )
        columns.append((ahead - behind) / _STEP_KM)
    return np.stack(columns, axis=-1)
