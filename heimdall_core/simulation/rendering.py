"""Levels in, complex samples out: the one renderer of every simulated recording.

All levels are mean powers **inside the channel** (``FeatureSettings.channel_bandwidth_hz``) in dB
relative to full scale. Noise is white over the whole sample rate, so its power per sample is
the floor times ``sample_rate / channel_bandwidth``. The signal is scaled by the share of its own
spectrum that falls into the channel, so that its mean power there over the recording is the
stated one exactly; the noise's is so in expectation.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.simulation.fm import channel_fraction, frequency_modulate, speech_like_audio

Float = NDArray[np.float64]
Complex = NDArray[np.complex64]

_CARRIER_BLOCK: Final = 64


def stream_generator(*key: int) -> np.random.Generator:
    """The random stream of a key: equal keys give equal numbers, others independent ones."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def render_iq(
    rng: np.random.Generator,
    *,
    signal_dbfs: Float,
    floor_dbfs: Float,
    offset_hz: Float,
    num_samples: int,
    settings: FeatureSettings,
    path_gain: Complex | None = None,
) -> Complex:
    """One FM transmission as R receivers record it, (R, num_samples) complex64.

    Args:
        rng: all randomness: audio, start phases, noise.
        signal_dbfs: (R,) signal power in the channel; -inf: noise alone.
        floor_dbfs: (R,) noise power in the channel.
        offset_hz: (R,) where the carrier appears about the centre.
        num_samples: length at ``settings.sample_rate_hz``.
        settings: sample rate and channel width.
        path_gain: (R, num_samples) factor on each receiver's signal, slow against the channel's width;
            levels then hold for a gain of 1.
    """
    rate = settings.sample_rate_hz
    audio = speech_like_audio(rng, num_samples, sample_rate_hz=rate)
    waveform = frequency_modulate(audio, sample_rate_hz=rate)
    share = channel_fraction(
        waveform, offset_hz, sample_rate_hz=rate, bandwidth_hz=settings.channel_bandwidth_hz
    )
    amplitude = np.sqrt(10.0 ** (signal_dbfs / 10.0) / share)
    phasor = amplitude * np.exp(2j * np.pi * rng.random(len(amplitude)))
    samples = _noise(rng, floor_dbfs, num_samples, settings)
    signals = _carriers(phasor, offset_hz / rate, num_samples) * waveform
    samples += signals if path_gain is None else signals * path_gain
    return samples


def _noise(
    rng: np.random.Generator, floor_dbfs: Float, num_samples: int, settings: FeatureSettings
) -> Complex:
    """White complex Gaussian noise, (R, num_samples)."""
    widening = settings.sample_rate_hz / settings.channel_bandwidth_hz
    sigma = np.sqrt(10.0 ** (floor_dbfs / 10.0) * widening / 2.0).astype(np.float32)
    parts = rng.standard_normal((len(floor_dbfs), 2 * num_samples), dtype=np.float32)
    parts *= sigma[:, np.newaxis]
    return np.asarray(parts.view(np.complex64))


def _carriers(phasor: NDArray[np.complex128], cycles_per_sample: Float, num_samples: int) -> Complex:
    """Rotating phasors, (R, num_samples), as products of a coarse and a fine rotation."""
    num_blocks = -(-num_samples // _CARRIER_BLOCK)
    turn = 2j * np.pi * cycles_per_sample[:, np.newaxis]
    coarse = phasor[:, np.newaxis] * np.exp(turn * (_CARRIER_BLOCK * np.arange(num_blocks)))
    fine = np.exp(turn * np.arange(_CARRIER_BLOCK))
    product = coarse.astype(np.complex64)[:, :, np.newaxis] * fine.astype(np.complex64)[:, np.newaxis, :]
    return np.asarray(product.reshape(len(phasor), -1)[:, :num_samples])
