"""What gain and carrier offsets tell about the band, which no input of the network states.

Path loss, noise and so the median SNR differ between the bands. All receivers' carriers lie at
``(transmitter's ppm - receiver's ppm) x frequency``: two of them tell the band without doubt. A single
one, and the floors (noise of the band plus a gain of -20 to 20 dB), only make one band likelier.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from heimdall_core.simulation.link_budget import (
    AGC_LIMIT_DBFS,
    DBM_TO_DBFS_DB,
    FREQUENCIES_HZ,
    GAIN_RANGE_DB,
    TRANSMITTER_PPM,
    noise_dbm,
)
from heimdall_core.simulation.sites import OSCILLATOR_PPM_R
from heimdall_core.simulation.world import WorldDraw

Float = NDArray[np.float64]
Band = Literal["inferred", "known", "unknown"]

_SAME_PPM: Final = 1e-6
_SAME_DB: Final = 1e-6


def log_band_evidence(draw: WorldDraw, band: Band) -> Float:
    """Logarithm of each band's likelihood up to a constant for each session, (N, F); -inf: impossible.

    Args:
        draw: the sessions.
        band: ``inferred`` from offsets and floors without error, as no estimator could do better;
            ``known``: somebody states it; ``unknown``: both are as likely, whatever offsets and floors say.
    """
    if band == "unknown":
        return np.zeros((len(draw), len(FREQUENCIES_HZ)))
    if band == "known":
        return np.where(draw.frequency_hz[:, np.newaxis] == np.array(FREQUENCIES_HZ), 0.0, -np.inf)
    columns = [_log_offsets(draw, f) + _log_floors(draw, f) for f in FREQUENCIES_HZ]
    return np.stack(columns, axis=1)


def _log_offsets(draw: WorldDraw, frequency_hz: float) -> Float:
    """All receivers that heard must agree on the transmitter's error, which is Gaussian: (N,)."""
    ppm = draw.carrier_offset_hz / (1e-6 * frequency_hz) + OSCILLATOR_PPM_R
    lowest = np.where(draw.is_recorded, ppm, np.inf).min(axis=1)
    highest = np.where(draw.is_recorded, ppm, -np.inf).max(axis=1)
    log_density = -0.5 * np.square(lowest / TRANSMITTER_PPM) - np.log(frequency_hz)
    return np.where(highest - lowest < _SAME_PPM, log_density, -np.inf)


def _log_floors(draw: WorldDraw, frequency_hz: float) -> Float:
    """Gains are uniform, and no more than what keeps the signal below the limit: (N,)."""
    low, high = GAIN_RANGE_DB
    noise_dbfs = noise_dbm(frequency_hz) + DBM_TO_DBFS_DB
    gain = draw.floor_dbfs - noise_dbfs
    headroom = AGC_LIMIT_DBFS - (draw.snr_db + noise_dbfs)
    is_limited = draw.floor_dbfs + draw.snr_db > AGC_LIMIT_DBFS - _SAME_DB
    possible = (gain >= low - _SAME_DB) & (gain <= high + _SAME_DB)
    likelihood = np.where(
        is_limited, np.clip((high - headroom) / (high - low), 0.0, 1.0), possible / (high - low)
    )
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(draw.is_recorded, np.log(likelihood), 0.0).sum(axis=1))
