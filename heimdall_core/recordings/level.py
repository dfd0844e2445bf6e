"""How strong a recording is: power in the channel, and over the noise."""

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from heimdall_core.recordings.session import IqRecording

LOWEST_SNR_DB = -20.0
"""What a recording without a measurable signal reports."""

_MAX_SAMPLES = 2**18
"""Longer recordings are judged by their beginning."""

_MEDIAN_OF_EXPONENTIAL = math.log(2.0)
"""Periodogram bins of white noise are exponential: their median is ln 2 of their mean."""


def channel_power_dbfs(
    samples: NDArray[np.complex64], *, sample_rate_hz: float, bandwidth_hz: float
) -> float:
    """Mean power within ``bandwidth_hz`` about the centre, dB relative to full scale; -inf for silence."""
    power, inside = _periodogram(samples, sample_rate_hz, bandwidth_hz)
    return _db(float(power[inside].sum()))


def estimate_snr_db(recording: IqRecording, *, bandwidth_hz: float) -> float | None:
    """Signal over noise in the channel, dB, at least ``LOWEST_SNR_DB``.

    The noise is the stated floor, else the median of the bins outside the channel;
    None where there are no such bins.
    """
    power, inside = _periodogram(recording.samples, recording.sample_rate_hz, bandwidth_hz)
    noise = _noise_power(recording, power, inside)
    if noise is None or noise <= 0:
        return None
    ratio = float(power[inside].sum()) / noise - 1.0
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


def _noise_power(
    recording: IqRecording, power: NDArray[np.float64], inside: NDArray[np.bool_]
) -> float | None:
    if recording.noise_floor_dbfs is not None:
        return float(10.0 ** (recording.noise_floor_dbfs / 10.0))
    if inside.all():
        return None
    return float(np.median(power[~inside])) / _MEDIAN_OF_EXPONENTIAL * int(inside.sum())


def _db(power: float) -> float:
    return 10.0 * math.log10(power) if power > 0 else -math.inf
