"""Relative power is what locates: nothing in the front end may lose it, whatever the level, rate or moment."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.features import SpectrogramFrontEnd, rows
from heimdall_core.features.filterbank import band_edges
from heimdall_core.features.resampling import resample

SETTINGS = FeatureSettings()
FRONT_ENDS = {
    scale: SpectrogramFrontEnd(dataclasses.replace(SETTINGS, scale=scale)) for scale in ("mel", "linear")
}
RATE_HZ, NUM_SAMPLES = SETTINGS.sample_rate_hz, SETTINGS.segment_samples
FLOOR_DBFS = -60.0

EXAMPLES = settings(max_examples=20, deadline=None)
frequencies = st.floats(100.0, 4_800.0).flatmap(lambda f: st.sampled_from([f, -f]))


def white(floor_dbfs: float = FLOOR_DBFS, seed: int = 0, *, rate_hz: float = RATE_HZ, seconds: float = 0.0):
    """Noise of that power in the channel: (n,)."""
    num_samples = round(seconds * rate_hz) if seconds else NUM_SAMPLES
    parts = np.random.default_rng(seed).standard_normal((2, num_samples))
    level = 10 ** (floor_dbfs / 20) * np.sqrt(rate_hz / SETTINGS.channel_bandwidth_hz / 2)
    return level * (parts[0] + 1j * parts[1])


def tone(
    frequency_hz: float, level_dbfs: float, *, rate_hz: float = RATE_HZ, seconds: float = 0.0
) -> np.ndarray:
    num_samples = round(seconds * rate_hz) if seconds else NUM_SAMPLES
    turn = 2j * np.pi * frequency_hz / rate_hz * np.arange(num_samples)
    return 10 ** (level_dbfs / 20) * np.exp(turn)


def features(samples: np.ndarray, floor_dbfs: float | None = FLOOR_DBFS, scale: str = "mel") -> np.ndarray:
    """(128, 32) of one segment."""
    iq = torch.from_numpy(np.asarray(samples, np.complex64))[None]
    floor = torch.tensor([float("nan") if floor_dbfs is None else floor_dbfs])
    return FRONT_ENDS[scale](iq, floor)[0].numpy()


def db(x: np.ndarray, row: int) -> float:
    scale = rows.DB_SCALE if row == rows.SNR_ROW else rows.DBFS_SCALE
    return float(x[row, 0]) * scale


@EXAMPLES
@given(gain_db=st.floats(-25.0, 25.0), frequency_hz=frequencies, scale=st.sampled_from(["mel", "linear"]))
def test_a_stronger_signal_in_the_same_noise_moves_its_rows_by_as_much(gain_db, frequency_hz, scale):
    signal, noise = tone(frequency_hz, -30.0), white(-90.0)
    before = features(signal + noise, -90.0, scale)
    after = features(signal * 10 ** (gain_db / 20) + noise, -90.0, scale)
    strongest = before[:120].mean(axis=1).argmax()
    is_clipped = (np.stack([before, after])[:, strongest] >= 4.0).any()
    if not is_clipped:
        moved_db = (after - before)[strongest] * rows.DB_SCALE
        np.testing.assert_allclose(moved_db, gain_db, atol=0.15)
    for row in (rows.SNR_ROW, rows.POWER_ROW):
        assert db(after, row) - db(before, row) == pytest.approx(gain_db, abs=0.02)
    np.testing.assert_array_equal(after[rows.FLOOR_ROW], before[rows.FLOOR_ROW])
    np.testing.assert_array_equal(after[rows.PRESENCE_ROW], before[rows.PRESENCE_ROW])
    assert after[rows.OFFSET_ROW, 0] == pytest.approx(before[rows.OFFSET_ROW, 0], abs=2e-3)


@EXAMPLES
@given(gain_db=st.floats(-40.0, 40.0), is_stated=st.booleans(), snr_db=st.floats(-10.0, 50.0))
def test_gain_on_signal_and_noise_together_leaves_bands_and_snr_unchanged(gain_db, is_stated, snr_db):
    mixture = tone(700.0, FLOOR_DBFS + snr_db) + white()
    before = features(mixture, FLOOR_DBFS if is_stated else None)
    after = features(mixture * 10 ** (gain_db / 20), FLOOR_DBFS + gain_db if is_stated else None)
    np.testing.assert_allclose(after[:121], before[:121], atol=2e-4)
    assert after[rows.OFFSET_ROW, 0] == pytest.approx(before[rows.OFFSET_ROW, 0], abs=1e-4)
    for row in (rows.POWER_ROW, rows.FLOOR_ROW):
        assert db(after, row) - db(before, row) == pytest.approx(gain_db, abs=2e-3)


@EXAMPLES
@given(frequency_hz=frequencies, scale=st.sampled_from(["mel", "linear"]))
def test_a_tone_lands_in_its_band_on_its_side_and_in_the_offset(frequency_hz, scale):
    x = features(tone(frequency_hz, -20.0) + white(-90.0), -90.0, scale)
    found = int(x[:120].mean(axis=1).argmax())
    band, sign = (found - 60, 1) if found >= 60 else (59 - found, -1)
    low_hz, _, high_hz = band_edges(60, RATE_HZ / 2, scale)[band : band + 3]
    bin_hz = RATE_HZ / SETTINGS.n_fft
    assert low_hz - bin_hz <= sign * frequency_hz <= high_hz + bin_hz
    assert float(x[rows.OFFSET_ROW, 0]) * rows.OFFSET_SCALE_KHZ == pytest.approx(frequency_hz / 1e3, abs=0.02)


@EXAMPLES
@given(frequency_hz=st.floats(-4_800.0, 4_800.0), snr_db=st.floats(-5.0, 40.0))
def test_the_snr_counts_signal_and_noise_over_noise(frequency_hz, snr_db):
    x = features(tone(frequency_hz, FLOOR_DBFS + snr_db) + white())
    assert db(x, rows.SNR_ROW) == pytest.approx(10 * np.log10(1 + 10 ** (snr_db / 10)), abs=0.4)


@EXAMPLES
@given(start=st.integers(0, NUM_SAMPLES), snr_db=st.floats(0.0, 40.0))
def test_the_moment_at_which_a_segment_begins_does_not_change_its_levels(start, snr_db):
    seconds = 2 * NUM_SAMPLES / RATE_HZ
    long = tone(900.0, FLOOR_DBFS + snr_db, seconds=seconds) + white(seconds=seconds)
    at_start, later = (features(long[s : s + NUM_SAMPLES], None) for s in (0, start))
    assert db(later, rows.POWER_ROW) == pytest.approx(db(at_start, rows.POWER_ROW), abs=0.4)
    assert db(later, rows.FLOOR_ROW) == pytest.approx(db(at_start, rows.FLOOR_ROW), abs=1.8)
    if snr_db > 10.0:
        assert later[rows.OFFSET_ROW, 0] == pytest.approx(at_start[rows.OFFSET_ROW, 0], abs=0.02)


@EXAMPLES
@given(
    rate_hz=st.sampled_from([16_000.0, 22_050.0, 48_000.0, 96_000.0, 250_000.0]),
    frequency_hz=st.floats(-4_500.0, 4_500.0),
    snr_db=st.floats(0.0, 40.0),
)
def test_a_recording_of_another_rate_has_the_same_levels(rate_hz, frequency_hz, snr_db):
    seconds = 0.36
    recorded = tone(frequency_hz, FLOOR_DBFS + snr_db, rate_hz=rate_hz, seconds=seconds)
    recorded += white(rate_hz=rate_hz, seconds=seconds)
    resampled = resample(recorded.astype(np.complex64), rate_hz, RATE_HZ)
    found, expected = (
        features(resampled[:NUM_SAMPLES], None),
        features(tone(frequency_hz, FLOOR_DBFS + snr_db) + white(), None),
    )
    assert db(found, rows.POWER_ROW) == pytest.approx(db(expected, rows.POWER_ROW), abs=0.5)
    assert db(found, rows.FLOOR_ROW) == pytest.approx(FLOOR_DBFS, abs=1.3)
    assert db(expected, rows.FLOOR_ROW) == pytest.approx(FLOOR_DBFS, abs=1.3)


def test_an_unstated_floor_is_estimated_without_bias():
    floors = [db(features(white(-45.0, seed), None), rows.FLOOR_ROW) for seed in range(64)]
    assert np.mean(floors) == pytest.approx(-45.0, abs=0.15)
    assert np.std(floors) < 0.5


@EXAMPLES
@given(level_dbfs=st.floats(-60.0, 0.0), frequency_hz=st.floats(-3_000.0, 3_000.0))
def test_a_carrier_in_the_channel_hardly_lifts_the_estimated_floor(level_dbfs, frequency_hz):
    quiet, loud = features(white(), None), features(tone(frequency_hz, level_dbfs) + white(), None)
    assert abs(db(loud, rows.FLOOR_ROW) - db(quiet, rows.FLOOR_ROW)) < 0.5
