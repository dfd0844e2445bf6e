"""The noise of a recording that states none: the lowest of what lies beside the channel.

A signal spills over its channel's edges (the Carson bandwidth of FM is wider than the channel that it is
given), but speech and data pause, and what is spilt falls off with distance. So the power beside the
channel is averaged over short cells, and the cells of the lowest tenth hold noise alone. How far the
tenth lies below the mean is known: noise powers are exponentially distributed, an average of k independent
ones is gamma distributed, and k follows from the window.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

FLOOR_QUANTILE: Final = 0.1
CELL_FRAMES: Final = 3
"""A pause that lasts four hops is seen."""
GUARD_GAP_BINS: Final = 2
"""Bins nearest the channel that a Hann window's main lobe can fill from inside it."""
FLAT_FRACTION: Final = 0.94
"""Filters are flat to this share of the Nyquist frequency; bins beyond it are no evidence."""

_NORMAL_QUANTILE: Final = -1.2815515655446004
"""``FLOOR_QUANTILE`` of the standard normal distribution."""
_BIN_HZ: Final = 50.0
_NEAR_FRACTION, _FAR_FRACTION = 1.175, 2.35
"""Ends of the guard band and of the wide evidence in half channels: 5.9 and 11.8 kHz of 10 kHz."""
_FASTEST_SHARE: Final = 0.75
"""Wide evidence lies within this share of the Nyquist frequency, where a receiver's filters are flat."""
_MOST_BELOW_DB, _MOST_ABOVE_DB = 12.0, 1.0
"""Wide evidence further below the guard bands is a filter's stop band, further above it other stations."""
_FEWEST_GUARD_BINS: Final = 4
_MAX_SAMPLES: Final = 2**20
"""Longer recordings are judged by their beginning."""


def guard_bins(
    n_fft: int, sample_rate_hz: float, *, bandwidth_hz: float, highest_hz: float
) -> NDArray[np.int64]:
    """Bins above and below the channel up to ``highest_hz``, nearest first: (2, M), M may be 0."""
    width_hz = sample_rate_hz / n_fft
    first = math.floor(bandwidth_hz / 2 / width_hz) + GUARD_GAP_BINS + 1
    bins = np.arange(first, math.floor(highest_hz / width_hz) + 1)
    return np.stack([bins, n_fft - bins])


@lru_cache(maxsize=32)
def lowest_tenth(n_fft: int, hop: int, num_bins: int, num_frames: int) -> float:
    """``FLOOR_QUANTILE`` of a cell of white noise whose bins have mean 1.

    E. B. Wilson and M. M. Hilferty, "The distribution of chi-square", PNAS 17, 1931.
    """
    k = _independent_powers(n_fft, hop, num_bins, num_frames)
    return float((1.0 - 1.0 / (9.0 * k) + _NORMAL_QUANTILE / (3.0 * math.sqrt(k))) ** 3)


def _independent_powers(n_fft: int, hop: int, num_bins: int, num_frames: int) -> float:
    """How many independent powers vary as little as a cell of a Hann STFT, whose neighbours are alike."""
    window = _hann(n_fft)
    offsets = np.arange(num_bins)
    total = 0.0
    for lag in range(num_frames):
        overlap = np.zeros(n_fft)
        shared = max(0, n_fft - lag * hop)
        overlap[:shared] = window[:shared] * window[n_fft - shared :]
        alike = np.square(np.abs(np.fft.fft(overlap)[offsets]) / np.sum(window**2))
        pairs = float(np.sum((num_bins - offsets) * np.where(offsets == 0, 1, 2) * alike))
        total += (num_frames - lag) * (1 if lag == 0 else 2) * pairs
    return float((num_bins * num_frames) ** 2 / total)


def estimate_noise_floor_dbfs(
    samples: NDArray[np.complex64], *, sample_rate_hz: float, bandwidth_hz: float
) -> float | None:
    """Mean noise power within ``bandwidth_hz``, dBFS, from the bins beside it.

    Where the recording is fast enough to be flat there, a band as wide as the channel on either side is
    heard too: what is spilt hardly reaches it. It counts if it lies close to what the guard bands say.

    Returns None where there are too few bins beside the channel, too few frames, or only zeros.
    """
    n_fft = 1 << max(4, round(math.log2(sample_rate_hz / _BIN_HZ)))
    half_hz, nyquist_hz = bandwidth_hz / 2, sample_rate_hz / 2
    ends_hz = [min(_NEAR_FRACTION * half_hz, FLAT_FRACTION * nyquist_hz)]
    if has_wide_evidence(sample_rate_hz, bandwidth_hz):
        ends_hz.append(_FAR_FRACTION * half_hz)
    near, *far = (
        guard_bins(n_fft, sample_rate_hz, bandwidth_hz=bandwidth_hz, highest_hz=end) for end in ends_hz
    )
    num_frames = (min(len(samples), _MAX_SAMPLES) - n_fft) // (n_fft // 2) + 1
    if near.shape[1] < _FEWEST_GUARD_BINS or num_frames < CELL_FRAMES:
        return None
    power_TN = _power(samples[:_MAX_SAMPLES], n_fft)
    floors_dbfs = [
        _floor_dbfs(power_TN, bins, near.shape[1], bandwidth_hz * n_fft / sample_rate_hz)
        for bins in (near, *far)
    ]
    return None if math.isinf(floors_dbfs[0]) else _weighed(*floors_dbfs)


def has_wide_evidence(sample_rate_hz: float, bandwidth_hz: float) -> bool:
    """Whether a recording reaches far enough beyond the guard bands: from 31.3 kHz for 10 kHz."""
    return _FAR_FRACTION * bandwidth_hz <= _FASTEST_SHARE * sample_rate_hz


def _power(samples: NDArray[np.complex64], n_fft: int) -> NDArray[np.float32]:
    """Hann, half overlapping; the bins of a frame add up to its mean power: (T, n_fft)."""
    window = _hann(n_fft).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[:: n_fft // 2]
    spectrum = scipy.fft.fft(frames * window, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(power / (n_fft * np.sum(window**2)), np.float32)


def _floor_dbfs(
    power_TN: NDArray[np.float32], bins_2M: NDArray[np.int64], cell_bins: int, channel_bins: float
) -> float:
    num_blocks = bins_2M.shape[1] // cell_bins
    blocks = bins_2M[:, : num_blocks * cell_bins].reshape(-1, cell_bins)
    mean_TS = power_TN[:, blocks].mean(axis=2, dtype=np.float64)
    cells = np.lib.stride_tricks.sliding_window_view(mean_TS, CELL_FRAMES, axis=0).mean(axis=2).ravel()
    rank = max(1, round(FLOOR_QUANTILE * cells.size))
    n_fft = power_TN.shape[1]
    mean = np.partition(cells, rank - 1)[rank - 1] / lowest_tenth(n_fft, n_fft // 2, cell_bins, CELL_FRAMES)
    return 10.0 * math.log10(mean * channel_bins) if mean > 0 else -math.inf


def _weighed(near_dbfs: float, far_dbfs: float | None = None) -> float:
    if far_dbfs is None or not near_dbfs - _MOST_BELOW_DB <= far_dbfs <= near_dbfs + _MOST_ABOVE_DB:
        return near_dbfs
    return far_dbfs


def _hann(n_fft: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
