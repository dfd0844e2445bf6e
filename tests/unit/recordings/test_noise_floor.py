"""Where no noise floor is stated, the noise is found beside the channel, whatever the signal spills there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve, firwin

from heimdall_core.recordings.noise_floor import (
    CELL_FRAMES,
    FLOOR_QUANTILE,
    estimate_noise_floor_dbfs,
    guard_bins,
    lowest_tenth,
)
from heimdall_core.simulation.fm import frequency_modulate, speech_like_audio

CHANNEL_HZ = 10_000.0
SECONDS = 0.345
NARROW_HZ, WIDE_HZ = 12_500.0, 48_000.0


def noise(rng: np.random.Generator, rate_hz: float, floor_dbfs: float, num_samples: int = 0) -> np.ndarray:
    """White noise of that power in the channel."""
    parts = rng.standard_normal((2, num_samples or int(SECONDS * rate_hz)))
    return (parts[0] + 1j * parts[1]) * np.sqrt(10 ** (floor_dbfs / 10) * rate_hz / CHANNEL_HZ / 2)


def speech(rng: np.random.Generator, rate_hz: float) -> np.ndarray:
    """Narrow-band FM of power 1."""
    audio = speech_like_audio(rng, int(SECONDS * rate_hz), sample_rate_hz=rate_hz)
    return frequency_modulate(audio, sample_rate_hz=rate_hz)


def station(rng: np.random.Generator, low_hz: float, high_hz: float) -> np.ndarray:
    """Noise of power 0.1 between two frequencies, at 48 kHz."""
    taps = firwin(401, (high_hz - low_hz) / 2, fs=WIDE_HZ)
    white = noise(rng, WIDE_HZ, 0.0, int(SECONDS * WIDE_HZ) + 400)
    shaped = fftconvolve(white, taps, "valid")
    turn = np.exp(1j * np.pi * (low_hz + high_hz) / WIDE_HZ * np.arange(len(shaped)))
    return shaped * turn * np.sqrt(0.1 / np.mean(np.abs(shaped) ** 2))


def floor_of(samples: np.ndarray, rate_hz: float) -> float:
    found = estimate_noise_floor_dbfs(
        samples.astype(np.complex64), sample_rate_hz=rate_hz, bandwidth_hz=CHANNEL_HZ
    )
    assert found is not None
    return found


def mean_error_db(make, rate_hz: float, floor_dbfs: float) -> float:
    rng = np.random.default_rng(7)
    num_trials = 25 if rate_hz < 31_300.0 else 8
    return float(np.mean([floor_of(make(rng), rate_hz) for _ in range(num_trials)])) - floor_dbfs


@pytest.mark.parametrize(
    ("num_samples", "rate_hz", "width_hz"),
    [(4224, 12_500.0, 12_500.0), (4224, 10_200.0, 1e4), (500, 12_500.0, 1e4), (100, 12_500.0, 1e4)],
    ids=["no guard band", "too slow", "two frames", "no frame"],
)
def test_too_little_beside_the_channel_gives_no_floor(num_samples, rate_hz, width_hz):
    samples = noise(np.random.default_rng(0), rate_hz, -40.0, num_samples).astype(np.complex64)
    assert estimate_noise_floor_dbfs(samples, sample_rate_hz=rate_hz, bandwidth_hz=width_hz) is None


def test_silence_has_no_floor():
    samples = np.zeros(20_000, np.complex64)
    for rate_hz in (NARROW_HZ, WIDE_HZ):
        assert estimate_noise_floor_dbfs(samples, sample_rate_hz=rate_hz, bandwidth_hz=CHANNEL_HZ) is None


@pytest.mark.parametrize("rate_hz", [12_500.0, 16_000.0, 31_250.0, 48_000.0, 250_000.0])
def test_noise_alone_is_found_without_bias_at_any_rate(rate_hz):
    assert mean_error_db(lambda rng: noise(rng, rate_hz, -40.0), rate_hz, -40.0) == pytest.approx(0, abs=0.15)


@settings(max_examples=15, deadline=None)
@given(gain_db=st.floats(-60.0, 40.0), seed=st.integers(0, 100), is_wide=st.booleans())
def test_gain_moves_the_floor_by_as_much(gain_db, seed, is_wide):
    rate_hz = WIDE_HZ if is_wide else NARROW_HZ
    rng = np.random.default_rng(seed)
    samples = noise(rng, rate_hz, -50.0) + 0.1 * speech(rng, rate_hz)
    moved = floor_of(samples * 10 ** (gain_db / 20), rate_hz) - floor_of(samples, rate_hz)
    assert moved == pytest.approx(gain_db, abs=1e-3)


@pytest.mark.parametrize(
    ("rate_hz", "snr_db", "bound_db"),
    [
        *[(NARROW_HZ, snr, bound) for snr, bound in ((10, 0.2), (20, 0.4), (30, 0.8), (40, 1.3), (50, 2.2))],
        *[(WIDE_HZ, snr, bound) for snr, bound in ((20, 0.1), (50, 0.5), (60, 0.8))],
    ],
)
def test_what_speech_spills_beside_the_channel_hardly_lifts_the_floor(rate_hz, snr_db, bound_db):
    error = mean_error_db(lambda rng: noise(rng, rate_hz, -snr_db) + speech(rng, rate_hz), rate_hz, -snr_db)
    assert -0.15 < error < bound_db


def test_a_signal_that_fills_the_guard_bands_is_heard_through_in_its_pauses():
    def with_pause(rng: np.random.Generator) -> np.ndarray:
        signal = noise(rng, NARROW_HZ, -20.0)
        signal[1000:2300] = 0.0
        return signal + noise(rng, NARROW_HZ, -50.0)

    assert 0.0 < mean_error_db(with_pause, NARROW_HZ, -50.0) < 1.5


def test_a_station_on_one_side_only_does_not_lift_the_floor_of_a_slow_recording():
    turn = np.exp(2j * np.pi * 5_500.0 / NARROW_HZ * np.arange(int(SECONDS * NARROW_HZ)))
    error = mean_error_db(lambda rng: noise(rng, NARROW_HZ, -40.0) + turn, NARROW_HZ, -40.0)
    assert 0.0 < error < 1.0


@pytest.mark.parametrize("both", [False, True])
def test_stations_in_the_next_channels_hardly_lift_the_floor_of_a_fast_recording(both):
    def crowded(rng: np.random.Generator) -> np.ndarray:
        samples = noise(rng, WIDE_HZ, -40.0) + station(rng, 7_500.0, 17_500.0)
        return samples + station(rng, -17_500.0, -7_500.0) if both else samples

    assert -0.1 < mean_error_db(crowded, WIDE_HZ, -40.0) < 1.0


@pytest.mark.parametrize("pass_hz", [6_000, 8_000, 10_000])
def test_the_stop_band_of_a_receivers_filter_is_not_taken_for_noise(pass_hz):
    taps = firwin(301, pass_hz, fs=WIDE_HZ)

    def filtered(rng: np.random.Generator) -> np.ndarray:
        return fftconvolve(noise(rng, WIDE_HZ, -40.0, int(SECONDS * WIDE_HZ) + 300), taps, "valid")

    assert mean_error_db(filtered, WIDE_HZ, -40.0) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize(("n_fft", "hop", "num_bins"), [(256, 128, 16), (256, 64, 8), (512, 512, 30)])
def test_the_lowest_tenth_of_white_noise_is_known(n_fft, hop, num_bins):
    rng = np.random.default_rng(0)
    white = (rng.standard_normal((2, 60 * 4224)) / np.sqrt(2)).T @ [1, 1j]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(white, n_fft)[::hop] * window
    bins = np.abs(np.fft.fft(frames)) ** 2 / np.sum(window**2)
    side = bins[:, n_fft // 4 : n_fft // 4 + num_bins].mean(axis=1)
    cells = np.lib.stride_tricks.sliding_window_view(side, CELL_FRAMES).mean(axis=1)
    expected = np.quantile(cells, FLOOR_QUANTILE)
    assert lowest_tenth(n_fft, hop, num_bins, CELL_FRAMES) == pytest.approx(expected, rel=0.03)


def test_guard_bins_mirror_each_other_and_leave_out_what_a_windows_lobe_fills():
    above, below = guard_bins(256, 12_500.0, bandwidth_hz=1e4, highest_hz=5_875.0)
    frequency_hz = np.fft.fftfreq(256, 1 / 12_500.0)
    np.testing.assert_array_equal(frequency_hz[above], -frequency_hz[below])
    assert frequency_hz[above].min() > 5_000.0 + 2 * 12_500.0 / 256
    assert frequency_hz[above].max() <= 5_875.0
