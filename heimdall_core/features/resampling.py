"""Recordings of any sample rate at the rate of the feature settings."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

Complex = NDArray[np.complex64]

_LARGEST_DENOMINATOR = 10_000
#: Zero crossings of the low-pass filter on each side: flat within 0.03 dB to 0.95 of the Nyquist frequency.
_HALF_WIDTH = 64
_KAISER_BETA = 6.0


def resampling_ratio(from_hz: float, to_hz: float) -> Fraction:
    """The rational number that ``from_hz`` is multiplied by."""
    return Fraction(to_hz / from_hz).limit_denominator(_LARGEST_DENOMINATOR)


def resampled_length(num_samples: int, from_hz: float, to_hz: float) -> int:
    """How many samples ``resample`` returns."""
    ratio = resampling_ratio(from_hz, to_hz)
    return -(-num_samples * ratio.numerator // ratio.denominator)


def resample(samples: Complex, from_hz: float, to_hz: float) -> Complex:
    """Polyphase resampling with a Kaiser low-pass; power inside the kept band is unchanged."""
    ratio = resampling_ratio(from_hz, to_hz)
    if ratio == 1:
        return samples
    taps = _low_pass(max(ratio.numerator, ratio.denominator))
    return resample_poly(samples, ratio.numerator, ratio.denominator, window=taps).astype(np.complex64)


@lru_cache(maxsize=16)
def _low_pass(factor: int) -> NDArray[np.float32]:
    taps = firwin(2 * _HALF_WIDTH * factor + 1, 1.0 / factor, window=("kaiser", _KAISER_BETA))
    return np.asarray(taps, np.float32)
