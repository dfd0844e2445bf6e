import numpy as np
import pytest

from heimdall_core.simulation.propagation import (
    effective_height_m,
    hata_suburban_loss_db,
    man_made_noise_db,
    noise_power_dbm,
)


def loss(distance_km, *, frequency_hz=900e6, base_height_m=30.0, mobile_height_m=1.5):
    return hata_suburban_loss_db(
        distance_km, frequency_hz=frequency_hz, base_height_m=base_height_m, mobile_height_m=mobile_height_m
    )


def test_hata_agrees_with_a_worked_example():
    # 900 MHz, 30 m, 1.5 m, 1 km: urban 126.4 dB, suburban correction 9.9 dB.
    assert loss(1.0) == pytest.approx(126.4 - 9.94, abs=0.05)


@pytest.mark.parametrize(("height_m", "db_per_decade"), [(30, 35.22), (200, 29.83)])
def test_loss_grows_with_the_slope_of_the_height(height_m, db_per_decade):
    assert loss(100, base_height_m=height_m) - loss(10, base_height_m=height_m) == pytest.approx(
        db_per_decade, abs=0.01
    )


def test_distances_below_a_kilometre_count_as_one():
    assert loss([0.0, 0.3, 1.0]).tolist() == [loss(1.0)] * 3


def test_heights_stay_where_the_formula_holds():
    assert effective_height_m([50, 300, 700], terrain_m=230, mast_m=10).tolist() == [30, 80, 200]


def test_man_made_noise_falls_with_frequency_and_distance_from_town():
    assert man_made_noise_db("city", 100e6) == pytest.approx(76.8 - 2 * 27.7)
    assert (
        man_made_noise_db("city", 1e8)
        > man_made_noise_db("residential", 1e8)
        > man_made_noise_db("rural", 1e8)
    )


def test_noise_adds_the_receivers_own_and_the_external():
    quiet = noise_power_dbm("rural", frequency_hz=1e12, bandwidth_hz=1e4, noise_figure_db=6)
    assert quiet == pytest.approx(-174 + 40 + 6, abs=0.05)
    both = noise_power_dbm("city", frequency_hz=np.array([145.5e6]), bandwidth_hz=1e4, noise_figure_db=6)
    assert both[0] == pytest.approx(
        -174 + 40 + 10 * np.log10(10**0.6 + 10 ** ((76.8 - 27.7 * np.log10(145.5)) / 10)), abs=0.05
    )
