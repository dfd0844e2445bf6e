"""What every simulated world shares: the transmitters, the receivers' noise and the median level."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heimdall_core.simulation.propagation import (
    effective_height_m,
    hata_suburban_loss_db,
    noise_power_dbm,
)
from heimdall_core.simulation.sites import ALTITUDE_R, EAST_R, NORTH_R, SITES

Float = NDArray[np.float64]

FREQUENCIES_HZ: Final = (145.5e6, 433.5e6)
EIRP_DBM: Final = 40.0
EIRP_SIGMA_DB: Final = 5.0
MISSING_PROBABILITY: Final = 0.1
HEARING_THRESHOLD_DB: Final = 0.0
"""Mean SNR in the channel below which a receiver's squelch stays shut."""
NOISE_FIGURE_DB: Final = 6.0
NOISE_BANDWIDTH_HZ: Final = 10_000.0
"""The channel that all powers and SNRs of the worlds refer to: the default of ``FeatureSettings``."""
TERRAIN_M: Final = 230.0
"""Mean altitude of the box (the Po plain and its hills)."""
MAST_M: Final = 10.0
TRANSMITTER_HEIGHT_M: Final = 10.0
"""A roof aerial, the upper end of Hata's range; 5.5 of 7 receivers then hear a transmission on average."""
TRANSMITTER_PPM: Final = 1.0
GAIN_RANGE_DB: Final = (-20.0, 20.0)
DBM_TO_DBFS_DB: Final = 50.0
"""Level of 0 dBm at gain 0; noise then lies near -75 dBFS."""
AGC_LIMIT_DBFS: Final = -6.0
"""A gain that would lift the signal above it is reduced, as automatic control does."""


def median_snr_db(east_km: ArrayLike, north_km: ArrayLike, frequency_hz: ArrayLike) -> Float:
    """SNR in the channel without shadowing at the mean EIRP, (..., R): what the exact bound integrates."""
    east, north, frequency = (
        np.asarray(v, float)[..., np.newaxis] for v in (east_km, north_km, frequency_hz)
    )
    loss_db = hata_suburban_loss_db(
        np.hypot(east - EAST_R, north - NORTH_R),
        frequency_hz=frequency,
        base_height_m=effective_height_m(ALTITUDE_R, terrain_m=TERRAIN_M, mast_m=MAST_M),
        mobile_height_m=TRANSMITTER_HEIGHT_M,
    )
    return EIRP_DBM - loss_db - noise_dbm(frequency_hz)


def noise_dbm(frequency_hz: ArrayLike) -> Float:
    """Mean noise power of each receiver in the channel, (..., R)."""
    levels = [
        noise_power_dbm(
            site.environment,
            frequency_hz=frequency_hz,
            bandwidth_hz=NOISE_BANDWIDTH_HZ,
            noise_figure_db=NOISE_FIGURE_DB,
        )
        for site in SITES
    ]
    return np.stack(levels, axis=-1)
