"""Narrow-band FM of speech-like audio."""

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

Complex = NDArray[np.complex64]

DEVIATION_HZ: Final = 2_500.0
"""Peak deviation of 12.5 kHz channels (ETSI EN 300 086)."""
AUDIO_BAND_HZ: Final = (300.0, 3_000.0)

_SYLLABLES_HZ: Final = 4.0
_PEAK: Final = 3.0
"""The limiter clips at three times the audio's standard deviation."""


def speech_like_audio(
    rng: np.random.Generator, num_samples: int, *, sample_rate_hz: float
) -> NDArray[np.float64]:
    """Noise of 300-3000 Hz that falls by 6 dB per octave above 800 Hz and swells with syllables.

    Returns (num_samples,) within -1 to 1.
    """
    frequencies = scipy.fft.rfftfreq(num_samples, 1.0 / sample_rate_hz)
    low, high = AUDIO_BAND_HZ
    inside = (frequencies >= low) & (frequencies <= high)
    spectrum = np.zeros(len(frequencies), complex)
    parts = rng.standard_normal((2, int(inside.sum())))
    spectrum[inside] = (parts[0] + 1j * parts[1]) / np.maximum(frequencies[inside] / 800.0, 1.0)
    audio = scipy.fft.irfft(spectrum, num_samples)
    time = np.arange(num_samples) / sample_rate_hz
    audio *= 1.0 + 0.7 * np.sin(2 * np.pi * (_SYLLABLES_HZ * time + rng.random()))
    return np.asarray(np.clip(audio / (_PEAK * audio.std()), -1.0, 1.0))


def frequency_modulate(audio: NDArray[np.float64], *, sample_rate_hz: float) -> Complex:
    """The signal of envelope 1 whose frequency is ``audio`` times the deviation."""
    phase = np.cumsum(audio) * (2 * np.pi * DEVIATION_HZ / sample_rate_hz)
    wrapped = np.remainder(phase, 2 * np.pi).astype(np.float32)
    waveform = np.empty(len(audio), np.complex64)
    waveform.real, waveform.imag = np.cos(wrapped), np.sin(wrapped)
    return waveform


def channel_fraction(
    waveform: Complex, offsets_hz: ArrayLike, *, sample_rate_hz: float, bandwidth_hz: float
) -> NDArray[np.float64]:
    """Share of the waveform's power within the channel after a shift by each offset, (R,).

    By whole bins of the recording's spectrum, which is exact to a bin's width (3 Hz for one segment).
    """
    n = len(waveform)
    power = np.square(np.abs(scipy.fft.fftshift(scipy.fft.fft(waveform)))).astype(np.float64)
    total = np.concatenate([[0.0], np.cumsum(np.tile(power, 3))])
    width = sample_rate_hz / n
    reach = int(bandwidth_hz / 2 / width)
    if 2 * reach + 1 >= n:
        return np.ones(np.shape(offsets_hz))
    centre = n + n // 2 - np.rint(np.asarray(offsets_hz, float) / width).astype(int)
    return np.asarray((total[centre + reach + 1] - total[centre - reach]) / power.sum())
