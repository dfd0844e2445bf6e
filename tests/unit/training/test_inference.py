"""Averages over segments, likelihoods and calibration against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.networks import PlanePrediction
from heimdall_core.training.inference import PlaneGaussians, average_segments, fit_calibration, to_predictions


def _gaussians(num: int, correlation: float = 0.4, seed: int = 0) -> PlaneGaussians:
    rng = np.random.default_rng(seed)
    return PlaneGaussians(
        mean_km=rng.normal(0, 20, (num, 2)),
        sigma_km=rng.uniform(1, 10, (num, 2)),
        correlation=np.full(num, correlation),
    )


def _covariances(prediction: PlaneGaussians) -> np.ndarray:
    east, north = prediction.sigma_km.T
    product = prediction.correlation * east * north
    return np.stack([np.stack([east**2, product], 1), np.stack([product, north**2], 1)], 1)


def test_the_average_is_that_of_means_and_covariances() -> None:
    parts = _gaussians(5)
    prediction = PlanePrediction(
        mean_km=torch.tensor(parts.mean_km),
        sigma_km=torch.tensor(parts.sigma_km),
        correlation=torch.tensor(parts.correlation)[:, None],
    )
    average = average_segments(prediction, torch.tensor([0, 0, 1, 1, 1]), 2)
    np.testing.assert_allclose(average.mean_km[0], parts.mean_km[:2].mean(axis=0))
    np.testing.assert_allclose(_covariances(average)[1], _covariances(parts)[2:].mean(axis=0))


def test_independent_axes_stay_independent() -> None:
    prediction = PlanePrediction(torch.zeros(3, 2), torch.ones(3, 2), None)
    assert not average_segments(prediction, torch.tensor([0, 1, 1]), 2).correlation.any()


def test_the_likelihood_is_that_of_scipy() -> None:
    from scipy.stats import multivariate_normal

    prediction, target = _gaussians(4), np.random.default_rng(1).normal(0, 20, (4, 2))
    expected = [
        -multivariate_normal(mean, covariance).logpdf(t)
        for mean, covariance, t in zip(prediction.mean_km, _covariances(prediction), target, strict=True)
    ]
    np.testing.assert_allclose(prediction.nll(target), expected)


@given(scale=st.floats(0.2, 5.0), seed=st.integers(0, 100))
def test_calibration_finds_the_factor_that_the_errors_were_drawn_with(scale: float, seed: int) -> None:
    prediction = _gaussians(4000, correlation=0.0, seed=seed)
    noise = np.random.default_rng(seed + 1).standard_normal((4000, 2))
    target = prediction.mean_km + scale * prediction.sigma_km * noise
    assert fit_calibration(prediction, target) == pytest.approx(scale, rel=0.05)


def test_calibration_minimises_the_likelihood() -> None:
    prediction, target = _gaussians(50), np.random.default_rng(1).normal(0, 20, (50, 2))
    best = fit_calibration(prediction, target)

    def nll(scale: float) -> float:
        scaled = PlaneGaussians(
            mean_km=prediction.mean_km,
            sigma_km=prediction.sigma_km * scale,
            correlation=prediction.correlation,
        )
        return float(scaled.nll(target).mean())

    assert nll(best) < min(nll(best * 0.98), nll(best * 1.02))


def test_predictions_are_in_degrees_and_metres() -> None:
    prediction = PlaneGaussians(mean_km=np.zeros((1, 2)), sigma_km=np.ones((1, 2)), correlation=np.zeros(1))
    converted = to_predictions(prediction, (44.95, 8.1))
    assert (converted.latitude[0], converted.longitude[0]) == pytest.approx((44.95, 8.1))
    assert converted.sigma_east_m[0] == 1000.0
