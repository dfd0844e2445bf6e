import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.features import SpectrogramFrontEnd, rows

SETTINGS = FeatureSettings()
FRONT_END = SpectrogramFrontEnd(SETTINGS)
CHANNEL_SHARE_DB = 10 * np.log10(205 / 256)
"""Of white noise's power that lies in the channel's bins."""
STATED = torch.tensor([-50.0])
UNSTATED = torch.tensor([float("nan")])


def noise(level_dbfs: float, seed: int = 0, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(batch, SETTINGS.segment_samples, dtype=torch.complex64, generator=generator)
    return samples * 10 ** (level_dbfs / 20)


def tone(frequency_hz: float, level_dbfs: float = -10.0) -> torch.Tensor:
    phase = 2j * torch.pi * frequency_hz / SETTINGS.sample_rate_hz * torch.arange(SETTINGS.segment_samples)
    return (torch.exp(phase) * 10 ** (level_dbfs / 20)).to(torch.complex64)[None]


def snr_db(x: torch.Tensor) -> float:
    return float(x[0, rows.SNR_ROW, 0]) * rows.DB_SCALE


def test_settings_without_guard_bands_are_refused():
    with pytest.raises(ValueError, match="too few bins outside the channel"):
        SpectrogramFrontEnd(dataclasses.replace(SETTINGS, channel_bandwidth_hz=12_000.0))


def test_another_number_of_bands_is_refused():
    with pytest.raises(ValueError, match="num_bands must be 120"):
        SpectrogramFrontEnd(dataclasses.replace(SETTINGS, num_bands=64))


def test_silence_is_finite():
    samples = torch.zeros(2, SETTINGS.segment_samples, dtype=torch.complex64)
    assert torch.isfinite(FRONT_END(samples, torch.tensor([-50.0, float("nan")]))).all()


def test_the_shape_is_that_of_the_contract():
    x = FRONT_END(noise(-40.0, batch=3), torch.full((3,), -40.0))
    assert x.shape == (3, 128, 32)
    assert x.dtype == torch.float32
    assert torch.all(x[:, rows.PRESENCE_ROW] == 1.0)
    assert torch.all(x[:, rows.POSITION_ROWS] == 0.0)


@settings(max_examples=15, deadline=None)
@given(gain_db=st.floats(-6.0, 20.0))
def test_a_stronger_signal_moves_its_rows_by_as_much(gain_db):
    signal = noise(-20.0)
    before, after = FRONT_END(signal, STATED), FRONT_END(signal * 10 ** (gain_db / 20), STATED)
    inside = (before[:, :120] > -0.6) & (before[:, :120] < 2.5)
    moved_db = ((after - before)[:, :120][inside]) * rows.DB_SCALE
    torch.testing.assert_close(moved_db, torch.full_like(moved_db, gain_db), atol=2e-3, rtol=1e-4)
    assert snr_db(after) - snr_db(before) == pytest.approx(gain_db, abs=2e-3)
    assert torch.equal(after[:, rows.FLOOR_ROW], before[:, rows.FLOOR_ROW])


@pytest.mark.parametrize("gain_db", [-15.0, 12.0])
@pytest.mark.parametrize("is_stated", [True, False])
def test_gain_on_signal_and_noise_together_leaves_bands_and_snr_unchanged(gain_db, is_stated):
    mixture = tone(700.0, -30.0) + noise(-50.0)
    floors = (STATED, STATED + gain_db) if is_stated else (UNSTATED, UNSTATED)
    before = FRONT_END(mixture, floors[0])
    after = FRONT_END(mixture * 10 ** (gain_db / 20), floors[1])
    torch.testing.assert_close(after[:, :121], before[:, :121], atol=1e-4, rtol=1e-4)
    moved_db = (after - before)[:, rows.POWER_ROW : rows.FLOOR_ROW + 1] * rows.DBFS_SCALE
    torch.testing.assert_close(moved_db, torch.full_like(moved_db, gain_db), atol=1e-3, rtol=1e-4)


def test_the_snr_counts_signal_and_noise_over_noise():
    mixture = tone(500.0, -40.0) + noise(-40.0)
    floor = torch.tensor([-40.0 + CHANNEL_SHARE_DB])
    expected = 10 * np.log10(1 + 10 ** (-CHANNEL_SHARE_DB / 10))
    assert snr_db(FRONT_END(mixture, floor)) == pytest.approx(expected, abs=0.3)


def test_an_unstated_floor_is_estimated_without_bias():
    x = FRONT_END(noise(-45.0, batch=64), torch.full((64,), float("nan")))
    floors = x[:, rows.FLOOR_ROW, 0] * rows.DBFS_SCALE
    assert float(floors.mean()) == pytest.approx(-45.0 + CHANNEL_SHARE_DB, abs=0.1)
    assert float(floors.std()) < 0.5


def test_a_strong_signal_in_the_channel_hardly_lifts_the_estimated_floor():
    quiet, loud = (FRONT_END(s + noise(-60.0), UNSTATED)[0, rows.FLOOR_ROW, 0] for s in (0.0, tone(2000.0)))
    assert float(loud - quiet) * rows.DBFS_SCALE < 0.5


def test_noise_alone_lies_at_zero_db():
    x = FRONT_END(noise(-45.0, batch=32), torch.full((32,), -45.0 + CHANNEL_SHARE_DB))
    band_power = 10 ** (x[:, :120] * rows.DB_SCALE / 10)
    assert float(band_power.mean()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("offset_hz", [-2500.0, 400.0, 3100.0])
def test_the_carrier_offset_is_in_kilohertz_over_five(offset_hz):
    x = FRONT_END(tone(offset_hz) + noise(-60.0), UNSTATED)
    assert float(x[0, rows.OFFSET_ROW, 0]) * rows.OFFSET_SCALE_KHZ == pytest.approx(offset_hz / 1e3, abs=0.02)


def test_bands_are_clipped_and_levels_are_not():
    x = FRONT_END(tone(0.0, 0.0), torch.tensor([-150.0]))
    assert float(x[:, :120].max()) == 4.0
    assert snr_db(x) == pytest.approx(150.0, abs=0.01)


def test_a_batch_gives_what_its_members_give_alone():
    iq, floors = noise(-30.0, batch=4), torch.tensor([-40.0, float("nan"), -35.0, float("nan")])
    together = FRONT_END(iq, floors)
    alone = torch.cat([FRONT_END(iq[i : i + 1], floors[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_samples():
    iq = (tone(300.0, -20.0) + noise(-40.0)).requires_grad_()
    FRONT_END(iq, UNSTATED).sum().backward()
    assert iq.grad is not None
    assert torch.isfinite(torch.view_as_real(iq.grad)).all()
    assert float(iq.grad.abs().sum()) > 0
