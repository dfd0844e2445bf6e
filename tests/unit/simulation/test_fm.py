import numpy as np
import pytest

from heimdall_core.simulation.fm import (
    AUDIO_BAND_HZ,
    DEVIATION_HZ,
    channel_fraction,
    frequency_modulate,
    speech_like_audio,
)

RATE_HZ = 12_500.0


@pytest.fixture
def audio():
    return speech_like_audio(np.random.default_rng(1), 4224, sample_rate_hz=RATE_HZ)


def test_audio_stays_in_its_band_and_within_full_scale(audio):
    power = np.square(np.abs(np.fft.rfft(audio)))
    frequencies = np.fft.rfftfreq(len(audio), 1 / RATE_HZ)
    inside = (frequencies > AUDIO_BAND_HZ[0] - 20) & (frequencies < AUDIO_BAND_HZ[1] + 20)
    assert power[inside].sum() > 0.99 * power.sum()
    assert 0.5 < np.abs(audio).max() <= 1.0


def test_fm_has_a_constant_envelope_and_the_stated_deviation():
    waveform = frequency_modulate(np.ones(1000), sample_rate_hz=RATE_HZ)
    step = np.angle(waveform[1:] * waveform[:-1].conj())
    assert np.abs(waveform) == pytest.approx(1.0, abs=1e-6)
    assert step * RATE_HZ / (2 * np.pi) == pytest.approx(DEVIATION_HZ, abs=0.01)


def test_nearly_all_of_the_signal_lies_in_the_channel(audio):
    waveform = frequency_modulate(audio, sample_rate_hz=RATE_HZ)
    share = channel_fraction(waveform, [0.0, 900.0], sample_rate_hz=RATE_HZ, bandwidth_hz=1e4)
    assert share[0] > 0.998
    assert 0.95 < share[1] <= share[0]


@pytest.mark.parametrize("offset_hz", [-5900.0, -3000.0, 0.0, 420.0, 5900.0])
def test_the_share_is_that_of_the_shifted_signal(audio, offset_hz):
    waveform = frequency_modulate(audio, sample_rate_hz=RATE_HZ)
    shifted = waveform * np.exp(2j * np.pi * offset_hz * np.arange(len(waveform)) / RATE_HZ)
    power = np.square(np.abs(np.fft.fft(shifted)))
    inside = np.abs(np.fft.fftfreq(len(shifted), 1 / RATE_HZ)) <= 5000
    share = channel_fraction(waveform, [offset_hz], sample_rate_hz=RATE_HZ, bandwidth_hz=1e4)
    assert share[0] == pytest.approx(power[inside].sum() / power.sum(), abs=0.01)


def test_a_channel_as_wide_as_the_rate_holds_everything(audio):
    waveform = frequency_modulate(audio, sample_rate_hz=RATE_HZ)
    assert channel_fraction(waveform, [0.0, 5e3], sample_rate_hz=RATE_HZ, bandwidth_hz=RATE_HZ).tolist() == [
        1,
        1,
    ]
