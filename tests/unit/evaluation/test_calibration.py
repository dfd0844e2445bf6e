import numpy as np
import pytest

from heimdall_core.evaluation.calibration import conformal_scale, summarize_calibration
from heimdall_core.evaluation.metrics import CHI_SQUARED_2


def heavy_tailed(count: int, seed: int):
    """Squared distances of Student-t residuals with 3 degrees of freedom, whose unit is 1."""
    rng = np.random.default_rng(seed)
    return rng.chisquare(2, count) * 3.0 / rng.chisquare(3, count)


def test_the_conformal_scale_of_calibrated_distances_is_one():
    assert conformal_scale(np.random.default_rng(0).chisquare(2, 100_000)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_sessions_have_no_conformal_scale(count):
    assert conformal_scale(np.ones(count)) is None


def test_the_conformal_scale_covers_a_further_session_with_at_least_68_percent():
    rng = np.random.default_rng(0)
    scales = np.array([conformal_scale(rng.chisquare(2, 19)) for _ in range(4000)])
    covered = rng.chisquare(2, 4000) / scales**2 <= CHI_SQUARED_2[68]
    assert 0.68 - 0.02 <= covered.mean() <= 0.68 + 1 / 20 + 0.02


def test_on_heavy_tails_the_temperature_covers_too_much_and_conformal_does_not():
    val, test = heavy_tailed(2000, 0), heavy_tailed(50_000, 1)
    temperature = float(np.sqrt(val.mean() / 2))
    found = summarize_calibration(temperature, {"val": val, "test": test}).to_dict()
    assert found["effects"]["test"]["temperature"]["coverage_68"] > 0.78
    assert found["effects"]["test"]["conformal"]["coverage_68"] == pytest.approx(0.68, abs=0.03)
    assert found["conformal_sigma_scale"] < found["sigma_scale"]
    assert found["temperature"] == pytest.approx(temperature**2)


def test_the_temperature_is_the_more_likely_on_validation():
    val = heavy_tailed(2000, 0)
    effects = summarize_calibration(float(np.sqrt(val.mean() / 2)), {"val": val}).effects["val"]
    assert effects["temperature"].nll_change < effects["conformal"].nll_change


def test_the_change_of_the_likelihood_is_that_of_a_wider_gaussian():
    squared = np.array([1.0, 9.0])
    effect = summarize_calibration(2.0, {"val": squared}).effects["val"]["temperature"]
    before = np.log(2 * np.pi) + squared / 2
    after = np.log(2 * np.pi * 4) + squared / 8
    assert effect.nll_change == pytest.approx(float(np.mean(after - before)))
