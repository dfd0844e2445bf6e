"""Triangular filter banks over a two-sided spectrum, mirrored about the channel centre."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["mel", "linear"]
Float = NDArray[np.float64]

# The Slaney (Auditory Toolbox) scale: linear to 1 kHz, logarithmic above. HTK's scale is so narrow near
# 0 Hz that 60 of its bands would hold no bin at all at 48.8 Hz resolution.
_LINEAR_HZ = 200.0 / 3.0
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequency_hz: Float) -> Float:
    """Slaney's mel of frequencies >= 0 Hz."""
    logarithmic = _LOG_FROM_MEL + np.log(np.maximum(frequency_hz, 1e-9) / _LOG_FROM_HZ) / _LOG_STEP
    return np.where(frequency_hz < _LOG_FROM_HZ, frequency_hz / _LINEAR_HZ, logarithmic)


def mel_to_hz(mel: Float) -> Float:
    """The inverse of ``hz_to_mel``."""
    logarithmic = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL))
    return np.where(mel < _LOG_FROM_MEL, mel * _LINEAR_HZ, logarithmic)


def band_edges(num_bands: int, highest_hz: float, scale: Scale) -> Float:
    """The ``num_bands + 2`` corners, Hz, of triangles from 0 Hz to ``highest_hz``."""
    if scale == "linear":
        return np.linspace(0.0, highest_hz, num_bands + 2)
    top = float(hz_to_mel(np.asarray(highest_hz)))
    return mel_to_hz(np.linspace(0.0, top, num_bands + 2))


def one_sided_bank(num_bands: int, n_fft: int, sample_rate_hz: float, scale: Scale) -> Float:
    """Triangles over the bins 0 ... n_fft/2: (num_bands, n_fft // 2 + 1), each row summing to one.

    With ``scale="mel"`` it equals ``librosa.filters.mel(htk=False, norm=1)``.

    Raises:
        ValueError: a band is narrower than a bin and would hold none.
    """
    edges = band_edges(num_bands, sample_rate_hz / 2, scale)
    bins = np.arange(n_fft // 2 + 1) * (sample_rate_hz / n_fft)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    sums = triangles.sum(axis=1, keepdims=True)
    if np.any(sums <= 0.0):
        raise ValueError(f"{num_bands} bands a side are too narrow for n_fft={n_fft}: one holds no bin")
    return triangles / sums


def mirrored_bank(num_bands: int, n_fft: int, sample_rate_hz: float, scale: Scale) -> Float:
    """The bank over bins in FFT order (0 ... n/2 - 1, -n/2 ... -1): (num_bands, n_fft).

    Row 0 is the most negative frequency; rows ``num_bands/2 - 1`` and ``num_bands/2`` flank the centre.

    Raises:
        ValueError: ``num_bands`` or ``n_fft`` is odd, or a band would hold no bin.
    """
    if num_bands % 2 or n_fft % 2:
        raise ValueError("num_bands and n_fft must be even")
    half = one_sided_bank(num_bands // 2, n_fft, sample_rate_hz, scale)
    upper = np.zeros((num_bands // 2, n_fft))
    upper[:, : n_fft // 2] = half[:, :-1]
    lower = np.zeros_like(upper)
    lower[:, n_fft // 2 :] = half[:, :0:-1]
    return np.concatenate([lower[::-1], upper])
