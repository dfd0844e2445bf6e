"""Path loss and noise at VHF and UHF, as the ITU and Hata give them."""

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Environment = Literal["city", "residential", "rural"]

_MAN_MADE: Final[dict[Environment, tuple[float, float]]] = {
    "city": (76.8, 27.7),
    "residential": (72.5, 27.7),
    "rural": (67.2, 27.7),
}
"""c and d of ITU-R P.372, table of man-made noise: Fam = c - d log10(MHz); beyond 250 MHz extrapolated."""

_THERMAL_DBM_PER_HZ: Final = -173.98
"""k T0 at 290 K."""

_HEIGHT_RANGE_M: Final = (30.0, 200.0)
"""Base heights for which Hata's formula was fitted."""


def effective_height_m(altitude_m: ArrayLike, *, terrain_m: float, mast_m: float) -> Float:
    """Antenna height over the average terrain, kept within Hata's range."""
    return np.clip(np.asarray(altitude_m, float) - terrain_m + mast_m, *_HEIGHT_RANGE_M)


def hata_suburban_loss_db(
    distance_km: ArrayLike, *, frequency_hz: ArrayLike, base_height_m: ArrayLike, mobile_height_m: float
) -> Float:
    """Median suburban path loss, arrays broadcast; distances below 1 km count as 1 km.

    M. Hata, IEEE Trans. Veh. Technol. 29(3), 1980; small or medium city, then the suburban
    correction. Used beyond its 20 km with the same slope.
    """
    log_f = np.log10(np.asarray(frequency_hz, float) / 1e6)
    log_h = np.log10(np.asarray(base_height_m, float))
    log_d = np.log10(np.maximum(np.asarray(distance_km, float), 1.0))
    mobile = (1.1 * log_f - 0.7) * mobile_height_m - (1.56 * log_f - 0.8)
    urban = 69.55 + 26.16 * log_f - 13.82 * log_h - mobile + (44.9 - 6.55 * log_h) * log_d
    return np.asarray(urban - 2.0 * np.square(log_f - math.log10(28.0)) - 5.4)


def man_made_noise_db(environment: Environment, frequency_hz: ArrayLike) -> Float:
    """Median external noise figure Fam, dB over k T0 B (ITU-R P.372)."""
    c, d = _MAN_MADE[environment]
    return np.asarray(c - d * np.log10(np.asarray(frequency_hz, float) / 1e6))


def noise_power_dbm(
    environment: Environment, *, frequency_hz: ArrayLike, bandwidth_hz: float, noise_figure_db: float
) -> Float:
    """Mean noise power at the receiver's input: its own (figure over k T0 B) plus man-made noise."""
    factor = 10.0 ** (noise_figure_db / 10) + 10.0 ** (man_made_noise_db(environment, frequency_hz) / 10)
    return np.asarray(_THERMAL_DBM_PER_HZ + 10.0 * math.log10(bandwidth_hz) + 10.0 * np.log10(factor))
