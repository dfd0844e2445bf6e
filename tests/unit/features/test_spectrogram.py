import librosa
import numpy as np
import pytest
import torch
from scipy.signal import stft

from heimdall_core.features import compute_mfcc, iq_to_mel_spectrogram
from heimdall_core.features.spectrogram import power_spectrogram


@pytest.fixture
def noise():
    return torch.randn(3, 4224, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


def test_fewer_samples_than_a_window_are_refused():
    with pytest.raises(ValueError, match="fewer than one window"):
        iq_to_mel_spectrogram(torch.zeros(100, dtype=torch.complex64))


@pytest.mark.parametrize("num_coefficients", [0, 61])
def test_more_coefficients_than_bands_are_refused(noise, num_coefficients):
    with pytest.raises(ValueError, match="num_coefficients"):
        compute_mfcc(noise, num_coefficients=num_coefficients)


def test_power_equals_scipys_stft(noise):
    *_, spectrum = stft(
        noise.numpy(),
        fs=12_500.0,
        nperseg=256,
        noverlap=128,
        return_onesided=False,
        boundary=None,
        padded=False,
        scaling="psd",
    )
    expected = np.abs(spectrum).swapaxes(1, 2) ** 2 * 12_500.0 / 256
    actual = power_spectrogram(noise, torch.hann_window(256), 128).numpy()
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-8)


def test_the_bins_of_a_frame_add_up_to_the_mean_power():
    tone = torch.exp(2j * torch.pi * 0.1 * torch.arange(4224)).to(torch.complex64)
    power = power_spectrogram(tone, torch.hann_window(256), 128)
    torch.testing.assert_close(power.sum(-1), torch.ones(32))


def test_silence_is_finite():
    assert torch.isfinite(iq_to_mel_spectrogram(torch.zeros(4224, dtype=torch.complex64))).all()


@pytest.mark.parametrize("frequency_hz", [-4000.0, -1500.0, 300.0, 2600.0])
@pytest.mark.parametrize("scale", ["mel", "linear"])
def test_a_tone_lands_in_the_right_band_on_the_right_side(frequency_hz, scale):
    tone = torch.exp(2j * torch.pi * frequency_hz / 12_500.0 * torch.arange(4224)).to(torch.complex64)
    bands = iq_to_mel_spectrogram(tone, scale=scale).mean(-1)
    if scale == "mel":
        edges = librosa.mel_frequencies(n_mels=62, fmin=0.0, fmax=6250.0, htk=False)
    else:
        edges = np.linspace(0.0, 6250.0, 62)
    nearest = int(np.argmin(np.abs(edges[1:-1] - abs(frequency_hz))))
    expected = 60 + nearest if frequency_hz > 0 else 59 - nearest
    assert abs(int(bands.argmax()) - expected) <= 1


def test_mfcc_equals_librosas_of_the_folded_bands(noise):
    upper_and_lower = 10 ** (iq_to_mel_spectrogram(noise[0]).numpy() / 10)
    folded_db = 10 * np.log10(upper_and_lower[60:] + upper_and_lower[59::-1])
    expected = librosa.feature.mfcc(S=folded_db, n_mfcc=20)
    np.testing.assert_allclose(compute_mfcc(noise[0]).numpy(), expected, atol=2e-3)


def test_mfcc_does_not_know_left_from_right(noise):
    torch.testing.assert_close(compute_mfcc(noise.conj()), compute_mfcc(noise), atol=1e-3, rtol=1e-4)
