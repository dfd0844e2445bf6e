import numpy as np
import pytest
from scipy.stats import norm

from heimdall_core.simulation.cramer_rao import censored_information, cramer_rao_bound
from heimdall_core.simulation.level_likelihood import silence_probability
from heimdall_core.simulation.sites import EAST_R, NORTH_R
from heimdall_core.simulation.world_a import draw_world_a
from heimdall_core.simulation.world_b import draw_world_b


def test_a_world_with_a_map_is_refused():
    with pytest.raises(ValueError, match="not of world-b"):
        cramer_rao_bound(draw_world_b(2, seed=1))


@pytest.mark.parametrize("median_db", [-20.0, 0.0, 7.0, 40.0])
def test_censored_information_is_the_mean_squared_score(median_db):
    sigma, step = 8.0, 1e-4
    levels = np.linspace(0, 120, 120_001)

    def log_density(m):
        return np.log(0.9) + norm.logpdf(levels, m, sigma), np.log(silence_probability(np.array(m), sigma))

    (heard_up, silent_up), (heard_down, silent_down) = (
        log_density(median_db + s) for s in (step / 2, -step / 2)
    )
    heard, silent = log_density(median_db)
    score = (heard_up - heard_down) / step
    expected = np.trapezoid(np.exp(heard) * score**2, levels)
    expected += np.exp(silent) * ((silent_up - silent_down) / step) ** 2
    assert censored_information(np.array(median_db), sigma) == pytest.approx(expected, rel=1e-3)


def test_the_bound_is_that_of_the_paper_with_a_prior_on_power():
    draw = draw_world_a(5, seed=1)
    found = cramer_rao_bound(draw, all_hear=True).covariance_km2
    for i in range(5):
        offset = draw.truth_km[i] - np.stack([EAST_R, NORTH_R], axis=1)
        distance = np.linalg.norm(offset, axis=1)
        height = np.clip(np.array([600, 300, 250, 700, 480, 100, 120]) - 220.0, 30, 200)
        per_decade = -(44.9 - 6.55 * np.log10(height))
        slope = (per_decade / np.log(10) / distance**2)[:, None] * offset
        jacobian = np.concatenate([slope, np.ones((7, 1))], axis=1)
        information = jacobian.T @ jacobian / 64 + np.diag([0, 0, 1 / 25])
        assert found[i] == pytest.approx(np.linalg.inv(information)[:2, :2], rel=1e-4)


def test_receivers_that_may_not_hear_tell_less():
    draw = draw_world_a(500, seed=3)
    censored, full = cramer_rao_bound(draw), cramer_rao_bound(draw, all_hear=True)
    assert (censored.rms_error_km > full.rms_error_km).all()
    assert 35 < np.median(full.rms_error_km) < np.median(censored.rms_error_km) < 50
