import numpy as np
import pytest

from heimdall_core.evaluation.baselines import (
    LevelData,
    fingerprint,
    knn,
    predict_baselines,
    train_mean,
    weighted_centroid,
)
from heimdall_core.evaluation.grid import fit_path_loss, predict_log_distance_grid
from heimdall_core.evaluation.metrics import evaluate
from heimdall_core.recordings.geodesy import to_degrees, to_plane_km

ORIGIN = (44.95, 8.10)
RECEIVERS_KM = np.array([[-60.0, 10.0], [50.0, 40.0], [20.0, -55.0], [-20.0, 50.0]])


def world(count: int = 400, shadowing_db: float = 2.0, seed: int = 0) -> LevelData:
    """A world that obeys the log-distance law: exponent 3.5, transmitter power 4 dB, tenth of levels missing."""
    rng = np.random.default_rng(seed)
    targets = rng.uniform(-50.0, 50.0, (count, 2))
    distance = np.linalg.norm(targets[:, None] - RECEIVERS_KM, axis=2)
    snr = 80.0 + np.array([0.0, 5.0, -5.0, 2.0]) - 35.0 * np.log10(distance)
    snr += rng.normal(0, shadowing_db, snr.shape) + rng.normal(0, 4.0, (count, 1))
    snr[rng.random(snr.shape) < 0.1] = np.nan
    return LevelData(snr_db=snr, targets_km=targets, receivers_km=RECEIVERS_KM, origin=ORIGIN)


def tiny(snr_db, targets_km) -> LevelData:
    return LevelData(
        snr_db=np.array(snr_db, float),
        targets_km=np.array(targets_km, float),
        receivers_km=RECEIVERS_KM[:2],
        origin=ORIGIN,
    )


def test_the_train_mean_is_the_mean_of_the_training_positions():
    data = tiny([[1, 1]] * 3, [[0, 0], [4, 2], [100, 100]])
    np.testing.assert_allclose(train_mean(data, np.array([0, 1]), np.array([2])), [[2.0, 1.0]])


def test_the_centroid_weighs_receivers_by_amplitude_over_noise():
    data = tiny([[0, 0], [20, 0], [np.nan, 7]], [[0, 0]] * 3)
    estimate = weighted_centroid(data, np.array([0]), np.arange(3))
    near, far = RECEIVERS_KM[:2]
    np.testing.assert_allclose(estimate, [(near + far) / 2, (10 * near + far) / 11, far])


def test_the_centroid_of_silence_is_the_train_mean():
    data = tiny([[0, 0], [np.nan, np.nan]], [[3, 4], [0, 0]])
    np.testing.assert_allclose(weighted_centroid(data, np.array([0]), np.array([1])), [[3.0, 4.0]])


def test_the_fingerprint_tells_silence_from_zero_db():
    heard, silent = fingerprint(np.array([[0.0, 5.0], [np.nan, 5.0]]))
    assert heard.tolist() == [0.0, 5.0, 10.0, 10.0]
    assert silent.tolist() == [0.0, 5.0, 0.0, 10.0]


def test_knn_averages_the_fifteen_nearest():
    snr = [[float(i), 0.0] for i in range(31)] + [[0.0, 0.0]]
    data = tiny(snr, [[i, -i] for i in range(31)] + [[0, 0]])
    np.testing.assert_allclose(knn(data, np.arange(31), np.array([31])), [[7.0, -7.0]])


def test_knn_makes_do_with_fewer_sessions():
    data = tiny([[1, 1], [2, 2], [1, 1]], [[0, 0], [2, 2], [9, 9]])
    np.testing.assert_allclose(knn(data, np.array([0, 1]), np.array([2])), [[1.0, 1.0]])


def test_the_constant_covariance_is_that_of_the_calibration_residuals():
    data = tiny([[1, 1]] * 6, [[-1, 0], [1, 0], [3, 0], [-3, 0], [0, 2], [0, 0]])
    predictions = predict_baselines(
        data, train=np.array([0, 1]), calibration=np.array([2, 3, 4]), test=np.array([5])
    )["train_mean"]
    assert predictions.sigma_east_m[0] == pytest.approx(np.sqrt(18 / 3) * 1e3)
    assert predictions.sigma_north_m[0] == pytest.approx(np.sqrt(4 / 3) * 1e3)
    assert predictions.correlation[0] == 0.0


def test_the_path_loss_law_is_recovered():
    data = world(4000)
    law = fit_path_loss(data.snr_db, data.targets_km, data.receivers_km)
    assert law.exponent == pytest.approx(3.5, abs=0.1)
    np.testing.assert_allclose(law.offset_db - law.offset_db[0], [0.0, 5.0, -5.0, 2.0], atol=0.5)
    assert np.sqrt(law.shadowing_variance) == pytest.approx(2.0, abs=0.2)
    assert np.sqrt(law.power_variance) == pytest.approx(4.0, abs=0.3)


def test_the_grid_is_calibrated_where_its_law_holds():
    data = world(1500)
    train, test = np.arange(500), np.arange(500, 1500)
    predictions = predict_log_distance_grid(
        data.snr_db, data.targets_km, data.receivers_km, ORIGIN, train=train, test=test
    )
    metrics = evaluate(predictions, *to_degrees(*data.targets_km[test].T, origin=ORIGIN), ORIGIN)
    assert metrics["coverage_68"] == pytest.approx(0.70, abs=0.06)
    assert metrics["ence"] < 0.15


def test_the_grid_falls_back_to_its_prior_where_nothing_is_heard():
    data = world(50)
    data.snr_db[0] = np.nan
    predictions = predict_log_distance_grid(
        data.snr_db, data.targets_km, data.receivers_km, ORIGIN, train=np.arange(1, 50), test=np.array([0])
    )
    low, high = data.targets_km[1:].min(axis=0), data.targets_km[1:].max(axis=0)
    place = np.stack(to_plane_km(predictions.latitude, predictions.longitude, origin=ORIGIN), axis=1)
    np.testing.assert_allclose(place, [(low + high) / 2], atol=0.05)
    assert predictions.sigma_east_m[0] == pytest.approx(1.2e3 * (high - low)[0] / np.sqrt(12), rel=0.02)


def test_better_baselines_are_better_in_a_lawful_world():
    data = world(1200)
    train, calibration, test = np.arange(800), np.arange(800, 1000), np.arange(1000, 1200)
    truth = to_degrees(*data.targets_km[test].T, origin=ORIGIN)
    results = {
        name: evaluate(p, *truth, ORIGIN)["rmse_m"]
        for name, p in predict_baselines(data, train=train, calibration=calibration, test=test).items()
    }
    assert results["log_distance_grid"] < results["knn"] < results["train_mean"]
    assert results["weighted_centroid"] < results["train_mean"]
