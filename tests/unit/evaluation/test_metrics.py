import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, multivariate_normal

from heimdall_core.evaluation.metrics import CHI_SQUARED_2, Predictions, evaluate
from heimdall_core.recordings.geodesy import to_degrees, to_plane_km

ORIGIN = (44.95, 8.10)


def synthetic(count: int = 20_000, sigma_factor: float = 1.0, seed: int = 0):
    """Truths drawn from the predictions' own Gaussians, whose stated sigmas are then scaled."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(500.0, 5_000.0, (count, 2))
    rho = rng.uniform(-0.9, 0.9, count)
    draw = rng.standard_normal((count, 2))
    east = sigma[:, 0] * draw[:, 0]
    north = sigma[:, 1] * (rho * draw[:, 0] + np.sqrt(1 - rho**2) * draw[:, 1])
    mean_km = rng.uniform(-50.0, 50.0, (count, 2))
    truth = to_degrees(mean_km[:, 0] + east / 1e3, mean_km[:, 1] + north / 1e3, origin=ORIGIN)
    positions = np.stack(to_degrees(*mean_km.T, origin=ORIGIN), axis=1)
    return Predictions.of(positions, sigma * sigma_factor, rho), truth


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(ValueError, match="0 truths"):
        evaluate(Predictions.of(np.empty((0, 2)), np.empty((0, 2))), [], [], ORIGIN)


def test_other_numbers_of_truths_are_refused():
    predictions, _ = synthetic(3)
    with pytest.raises(ValueError, match="3 predictions cannot be compared with 1 truths"):
        evaluate(predictions, [45.0], [8.0], ORIGIN)


@pytest.mark.parametrize(("sigma", "rho"), [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, 1.0)])
def test_an_impossible_covariance_is_refused(sigma, rho):
    with pytest.raises(ValueError, match="positive"):
        Predictions.of([[45.0, 8.0]], [[sigma, 1.0]], [rho])


def test_the_radii_are_quantiles_of_chi_squared():
    for percent, radius in CHI_SQUARED_2.items():
        assert radius == pytest.approx(chi2.ppf(percent / 100, 2), abs=1e-5)


def test_calibrated_predictions_are_covered_as_promised():
    predictions, truth = synthetic()
    metrics = evaluate(predictions, *truth, ORIGIN)
    for percent in CHI_SQUARED_2:
        assert metrics[f"coverage_{percent}"] == pytest.approx(percent / 100, abs=0.01)


def test_the_ence_of_calibrated_predictions_is_near_zero():
    predictions, truth = synthetic()
    assert evaluate(predictions, *truth, ORIGIN)["ence"] < 0.02


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_ence_measures_a_wrong_scale(factor):
    predictions, truth = synthetic(sigma_factor=factor)
    expected = abs(1 - 1 / factor)
    assert evaluate(predictions, *truth, ORIGIN)["ence"] == pytest.approx(expected, abs=0.03)


def test_overconfidence_lowers_the_coverage_and_raises_nll_and_energy_score():
    honest, truth = synthetic()
    tight, _ = synthetic(sigma_factor=0.3)
    good, bad = evaluate(honest, *truth, ORIGIN), evaluate(tight, *truth, ORIGIN)
    assert bad["coverage_68"] < 0.2
    assert bad["nll_per_m2"] > good["nll_per_m2"] + 1
    assert bad["energy_score_m"] > good["energy_score_m"]
    assert bad["mean_error_m"] == good["mean_error_m"]


def test_the_nll_equals_the_closed_form():
    predictions = Predictions.of([ORIGIN], [[300.0, 200.0]], [0.4])
    latitude, longitude = to_degrees([0.25], [-0.1], origin=ORIGIN)
    covariance = [[300.0**2, 0.4 * 300 * 200], [0.4 * 300 * 200, 200.0**2]]
    expected = -multivariate_normal([0, 0], covariance).logpdf([250.0, -100.0])
    assert evaluate(predictions, latitude, longitude, ORIGIN)["nll_per_m2"] == pytest.approx(
        expected, abs=1e-4
    )


def test_errors_are_geodesic_metres():
    east_km = np.arange(1.0, 12.0)
    positions = np.stack(to_degrees(east_km, np.zeros(11), origin=ORIGIN), axis=1)
    predictions = Predictions.of(positions, np.full((11, 2), 1000.0))
    metrics = evaluate(predictions, np.full(11, ORIGIN[0]), np.full(11, ORIGIN[1]), ORIGIN)
    assert metrics["mean_error_m"] == pytest.approx(6000.0, abs=0.1)
    assert metrics["median_error_m"] == pytest.approx(6000.0, abs=0.1)
    assert metrics["rmse_m"] == pytest.approx(np.sqrt(46.0) * 1e3, abs=0.1)
    assert metrics["p90_error_m"] == pytest.approx(10_000.0, abs=0.1)
    assert metrics["p68_error_m"] == pytest.approx(7800.0, abs=0.1)
    assert metrics["p95_error_m"] == pytest.approx(10_500.0, abs=0.1)


def test_the_area_is_that_of_the_68_percent_ellipse():
    predictions = Predictions.of([ORIGIN], [[1000.0, 2000.0]], [0.6])
    metrics = evaluate(predictions, [ORIGIN[0]], [ORIGIN[1]], ORIGIN)
    assert metrics["median_area68_km2"] == pytest.approx(np.pi * 2.278869 * 1 * 2 * 0.8, rel=1e-5)


def test_the_energy_score_of_a_sharp_prediction_is_its_error():
    latitude, longitude = to_degrees([3.0], [4.0], origin=ORIGIN)
    metrics = evaluate(Predictions.of([ORIGIN], [[0.1, 0.1]]), latitude, longitude, ORIGIN)
    assert metrics["energy_score_m"] == pytest.approx(5000.0, abs=1.0)


def test_the_energy_score_of_a_circular_gaussian_at_its_centre():
    # E|X| = sigma sqrt(pi / 2), E|X - X'| = sigma sqrt(pi).
    metrics = evaluate(Predictions.of([ORIGIN], [[1000.0, 1000.0]]), [ORIGIN[0]], [ORIGIN[1]], ORIGIN)
    expected = 1000.0 * (np.sqrt(np.pi / 2) - np.sqrt(np.pi) / 2)
    assert metrics["energy_score_m"] == pytest.approx(expected, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 2**16))
def test_every_metric_is_finite_and_evaluating_twice_gives_the_same(count, seed):
    predictions, truth = synthetic(count, seed=seed)
    metrics = evaluate(predictions, *truth, ORIGIN)
    assert all(np.isfinite(v) for v in metrics.values())
    assert metrics == evaluate(predictions, *truth, ORIGIN)


def test_the_energy_score_equals_plain_monte_carlo():
    predictions, truth = synthetic(5, seed=3)
    rng = np.random.default_rng(1)
    scores = []
    for i in range(5):
        mean = np.array(to_plane_km(predictions.latitude[i], predictions.longitude[i], origin=ORIGIN)) * 1e3
        place = np.array(to_plane_km(truth[0][i], truth[1][i], origin=ORIGIN)) * 1e3
        east, north, rho = (
            predictions.sigma_east_m[i],
            predictions.sigma_north_m[i],
            predictions.correlation[i],
        )
        covariance = [[east**2, rho * east * north], [rho * east * north, north**2]]
        one, other = (rng.multivariate_normal(mean, covariance, 100_000) for _ in range(2))
        spread = np.linalg.norm(one - other, axis=1).mean()
        scores.append(np.linalg.norm(one - place, axis=1).mean() - spread / 2)
    assert evaluate(predictions, *truth, ORIGIN)["energy_score_m"] == pytest.approx(np.mean(scores), rel=0.02)


def test_the_ence_equals_its_definition_bin_by_bin():
    predictions, truth = synthetic(200, seed=5)
    true_km = np.stack(to_plane_km(*truth, origin=ORIGIN), axis=1)
    own_km = np.stack(to_plane_km(predictions.latitude, predictions.longitude, origin=ORIGIN), axis=1)
    rows = sorted(
        ((east**2 + north**2) / 2, ((t - p) ** 2).mean() * 1e6)
        for east, north, t, p in zip(
            predictions.sigma_east_m, predictions.sigma_north_m, true_km, own_km, strict=True
        )
    )
    bins = [rows[start : start + 20] for start in range(0, 200, 20)]
    gaps = []
    for members in bins:
        root_variance, rmse = (np.sqrt(np.mean([row[k] for row in members])) for k in (0, 1))
        gaps.append(abs(root_variance - rmse) / root_variance)
    assert evaluate(predictions, *truth, ORIGIN)["ence"] == pytest.approx(np.mean(gaps), rel=1e-9)


def test_the_68_percent_ellipse_of_the_stated_area_holds_68_percent():
    """A share of a box, counted point by point, is the area."""
    predictions = Predictions.of([ORIGIN], [[1000.0, 2000.0]], [0.6])
    rng = np.random.default_rng(0)
    points = rng.uniform([-4000, -8000], [4000, 8000], (400_000, 2))
    inverse = np.linalg.inv([[1000.0**2, 0.6 * 2e6], [0.6 * 2e6, 2000.0**2]])
    inside = np.einsum("ni,ij,nj->n", points, inverse, points) <= chi2.ppf(0.68, 2)
    area = evaluate(predictions, [ORIGIN[0]], [ORIGIN[1]], ORIGIN)["median_area68_km2"]
    assert area == pytest.approx(inside.mean() * 8 * 16, rel=0.02)
