import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.features.resampling import resample, resampled_length

RATES = [8_000.0, 11_025.0, 12_500.0, 48_000.0, 250_000.0]


@given(num_samples=st.integers(1, 5_000), rate=st.sampled_from(RATES))
def test_the_length_is_known_in_advance(num_samples, rate):
    samples = np.ones(num_samples, np.complex64)
    assert len(resample(samples, rate, 12_500.0)) == resampled_length(num_samples, rate, 12_500.0)


@pytest.mark.parametrize("rate", [48_000.0, 250_000.0])
@pytest.mark.parametrize("frequency_hz", [-4_500.0, 1_000.0, 5_800.0])
def test_a_tone_inside_keeps_its_frequency_and_level(rate, frequency_hz):
    tone = np.exp(2j * np.pi * frequency_hz / rate * np.arange(int(rate))).astype(np.complex64)
    result = resample(tone, rate, 12_500.0)
    expected = np.exp(2j * np.pi * frequency_hz / 12_500.0 * np.arange(len(result)))
    inner = slice(200, -200)
    np.testing.assert_allclose(result[inner], expected[inner], atol=0.01)


def test_what_lies_outside_is_removed():
    tone = np.exp(2j * np.pi * 8_000.0 / 48_000.0 * np.arange(48_000)).astype(np.complex64)
    assert np.abs(resample(tone, 48_000.0, 12_500.0)[200:-200]).max() < 2e-3


def test_the_right_rate_is_left_alone():
    samples = np.ones(10, np.complex64)
    assert resample(samples, 12_500.0, 12_500.0) is samples
