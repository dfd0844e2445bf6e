from dataclasses import replace

import numpy as np
import pytest

from heimdall_core.recordings.level import LOWEST_SNR_DB, channel_power_dbfs, estimate_snr_db

RATE_HZ = 12_500.0


def tone(level_dbfs: float, frequency_hz: float, num_samples: int = 12_500) -> np.ndarray:
    phase = 2j * np.pi * frequency_hz * np.arange(num_samples) / RATE_HZ
    return (10 ** (level_dbfs / 20) * np.exp(phase)).astype(np.complex64)


def noise(level_dbfs: float, num_samples: int = 50_000) -> np.ndarray:
    parts = np.random.default_rng(0).standard_normal((num_samples, 2)) * np.sqrt(
        0.5 * 10 ** (level_dbfs / 10)
    )
    return (parts[:, 0] + 1j * parts[:, 1]).astype(np.complex64)


def test_silence_has_no_level():
    samples = np.zeros(100, np.complex64)
    assert channel_power_dbfs(samples, sample_rate_hz=RATE_HZ, bandwidth_hz=1e4) == -np.inf


@pytest.mark.parametrize(("frequency_hz", "level_dbfs"), [(-4000, -30.0), (4900, -30.0), (5500, -300.0)])
def test_only_the_channel_counts(frequency_hz, level_dbfs):
    power = channel_power_dbfs(tone(-30, frequency_hz), sample_rate_hz=RATE_HZ, bandwidth_hz=1e4)
    assert power == pytest.approx(level_dbfs, abs=0.01) or power < -100 > level_dbfs


def test_white_noise_fills_the_channel_in_proportion():
    power = channel_power_dbfs(noise(-50), sample_rate_hz=RATE_HZ, bandwidth_hz=1e4)
    assert power == pytest.approx(-50 + 10 * np.log10(0.8), abs=0.1)


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("snr_db", [-3.0, 10.0, 40.0])
def test_snr_is_found_with_and_without_a_stated_floor(make_session, stated, snr_db):
    floor = -60 + 10 * np.log10(0.8)
    samples = noise(-60) + tone(floor + snr_db, 700, 50_000)
    recording = replace(
        make_session(1).recordings[0], samples=samples, noise_floor_dbfs=floor if stated else None
    )
    assert estimate_snr_db(recording, bandwidth_hz=1e4) == pytest.approx(snr_db, abs=0.5)


def test_an_empty_channel_reports_the_lowest_snr(make_session):
    recording = replace(make_session(1).recordings[0], samples=noise(-60), noise_floor_dbfs=-50.0)
    assert estimate_snr_db(recording, bandwidth_hz=1e4) == LOWEST_SNR_DB


@pytest.mark.parametrize("samples", [noise(-60), np.zeros(5000, np.complex64)])
def test_no_noise_to_compare_with_gives_no_snr(make_session, samples):
    recording = replace(make_session(1).recordings[0], samples=samples, noise_floor_dbfs=None)
    width = 20_000.0 if samples.any() else 1e4
    assert estimate_snr_db(recording, bandwidth_hz=width) is None
