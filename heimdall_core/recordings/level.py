"""How strong a recording is: power in the channel, and over the noise."""

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from heimdall_core.recordings.noise_floor import estimate_noise_floor_dbfs
from heimdall_core.recordings.session import IqRecording

LOWEST_SNR_DB = -20.0
"""What a recording without a measurable signal reports."""

_MAX_SAMPLES = 2**18
"""Longer recordings are judged by their beginning."""


def channel_power_dbfs(
    samples: NDArray[np.complex64], *, sample_rate_hz: float, bandwidth_hz: float
) -> float:
    """Mean power within ``bandwidth_hz`` about the centre, dB relative to full scale; -inf for silence."""
    power, inside = _periodogram(samples, sample_rate_hz, bandwidth_hz)
    return _db(float(power[inside].sum()))


def estimate_snr_db(recording: IqRecording, *, bandwidth_hz: float) -> float | None:
    """Signal over noise in the channel, dB, at least ``LOWEST_SNR_DB``.

    The noise is the stated floor, else that of ``estimate_noise_floor_dbfs``; None where there is neither.
    """
    floor_dbfs = recording.noise_floor_dbfs
    if floor_dbfs is None:
        floor_dbfs = estimate_noise_floor_dbfs(
            recording.samples, sample_rate_hz=recording.sample_rate_hz, bandwidth_hz=bandwidth_hz
        )
    if floor_dbfs is None:
        return None
    power, inside = _periodogram(recording.samples, recording.sample_rate_hz, bandwidth_hz)
    ratio = float(power[inside].sum()) / 10.0 ** (floor_dbfs / 10.0) - 1.0
    return max(_db(ratio), LOWEST_SNR_DB)


def _periodogram(
    samples: NDArray[np.complex64], sample_rate_hz: float, bandwidth_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Power of each bin (they add up to the mean power), and which bins lie in the channel."""
    samples = samples[:_MAX_SAMPLES]
    n = len(samples)
    spectrum = scipy.fft.fft(samples.astype(np.complex128))
    power = np.square(np.abs(spectrum) / n)
    frequencies = scipy.fft.fftfreq(n, 1.0 / sample_rate_hz)
    return power, np.abs(frequencies) <= bandwidth_hz / 2


def _db(power: float) -> float:
    return 10.0 * math.log10(power) if power > 0 else -math.inf
