"""Complex short-time spectra: power, mel bands in dB, cepstral coefficients."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from heimdall_core.features.filterbank import Scale, mirrored_bank

#: Smallest power, relative to full scale, that a logarithm sees: -200 dBFS.
SMALLEST_POWER = 1e-20


def power_spectrogram(iq: Tensor, window: Tensor, hop: int) -> Tensor:
    """Power of each bin and frame: (..., n) complex -> (..., frames, n_fft) real, bins in FFT order.

    Scaled so that the bins of a frame add up to the mean power of its (windowed) samples: full-scale
    noise or a full-scale tone gives 1. There is no padding: ``frames = (n - n_fft) // hop + 1``.
    """
    n_fft = window.shape[0]
    # Framed as real numbers: the ONNX exporter knows no complex ``unfold``.
    parts = torch.view_as_real(iq).unfold(-2, n_fft, hop)
    frames = torch.complex(parts[..., 0, :] * window, parts[..., 1, :] * window)
    spectrum = torch.fft.fft(frames)
    power = spectrum.real.square() + spectrum.imag.square()
    return power / (n_fft * window.square().sum())


def to_decibels(power: Tensor) -> Tensor:
    """10 log10, bounded below at -200 dB."""
    return 10.0 * torch.log10(power.clamp_min(SMALLEST_POWER))


def iq_to_mel_spectrogram(
    iq: Tensor,
    *,
    sample_rate_hz: float = 12_500.0,
    n_fft: int = 256,
    hop: int = 128,
    num_bands: int = 120,
    scale: Scale = "mel",
) -> Tensor:
    """Two-sided band powers, dBFS per bin: (..., n) complex -> (..., num_bands, frames).

    Band 0 holds the most negative frequencies; a band is the weighted mean of the powers of its bins.

    Raises:
        ValueError: fewer samples than one window, or bands narrower than a bin.
    """
    return to_decibels(_band_power(iq, sample_rate_hz, n_fft, hop, num_bands, scale))


def compute_mfcc(
    iq: Tensor,
    *,
    num_coefficients: int = 20,
    sample_rate_hz: float = 12_500.0,
    n_fft: int = 256,
    hop: int = 128,
    num_bands: int = 120,
) -> Tensor:
    """Mel-frequency cepstral coefficients: (..., n) complex -> (..., num_coefficients, frames).

    The bands at +f and -f are added, so that a mirrored spectrum gives the same coefficients; then the
    orthonormal DCT-II of the ``num_bands / 2`` log powers in dB, as ``librosa.feature.mfcc`` computes it.

    Raises:
        ValueError: as ``iq_to_mel_spectrogram``, or more coefficients than bands a side.
    """
    half = num_bands // 2
    if not 1 <= num_coefficients <= half:
        raise ValueError(f"num_coefficients must lie in 1..{half}")
    power = _band_power(iq, sample_rate_hz, n_fft, hop, num_bands, "mel")
    folded = power[..., half:, :] + power[..., :half, :].flip(-2)
    return _dct_matrix(num_coefficients, half).to(folded) @ to_decibels(folded)


def _band_power(
    iq: Tensor, sample_rate_hz: float, n_fft: int, hop: int, num_bands: int, scale: Scale
) -> Tensor:
    if iq.shape[-1] < n_fft:
        raise ValueError(f"{iq.shape[-1]} samples are fewer than one window of {n_fft}")
    window = torch.hann_window(n_fft, dtype=torch.float32, device=iq.device)
    power = power_spectrogram(iq.resolve_conj(), window, hop)
    bank = _bank(num_bands, n_fft, sample_rate_hz, scale).to(power)
    return (power @ bank.mT).mT


@lru_cache(maxsize=8)
def _bank(num_bands: int, n_fft: int, sample_rate_hz: float, scale: Scale) -> Tensor:
    return torch.from_numpy(mirrored_bank(num_bands, n_fft, sample_rate_hz, scale)).float()


def _dct_matrix(num_coefficients: int, num_bands: int) -> Tensor:
    order = torch.arange(num_coefficients, dtype=torch.float64)[:, None]
    position = torch.arange(num_bands, dtype=torch.float64) + 0.5
    matrix = math.sqrt(2.0 / num_bands) * torch.cos(math.pi / num_bands * order * position)
    matrix[0] /= math.sqrt(2.0)
    return matrix.float()
