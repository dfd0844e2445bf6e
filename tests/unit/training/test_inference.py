"""Averages over segments, likelihoods and calibration against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.networks import PlanePrediction
from heimdall_core.networks.loss import mixture_nll
from heimdall_core.networks.prediction import Components
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


def _mixture(num_segments: int, num_components: int = 3) -> PlanePrediction:
    rng = np.random.default_rng(3)
    components = Components(
        log_weight=torch.tensor(rng.normal(0, 1, (num_segments, num_components))).log_softmax(1),
        mean_km=torch.tensor(rng.normal(0, 20, (num_segments, num_components, 2))),
        sigma_km=torch.tensor(rng.uniform(1, 10, (num_segments, num_components, 2))),
        correlation=torch.tensor(rng.uniform(-0.9, 0.9, (num_segments, num_components))),
    )
    return PlanePrediction.of_components(components, torch.tensor(1.0))


def test_a_mixture_of_one_segment_is_the_one_that_was_predicted() -> None:
    prediction = _mixture(4)
    average = average_segments(prediction, torch.arange(4), 4)
    assert average.mixtures is not None
    assert prediction.components is not None
    np.testing.assert_allclose(average.mixtures.weight, prediction.components.log_weight.exp())
    np.testing.assert_allclose(average.mixtures.mean_km, prediction.components.mean_km)
    np.testing.assert_allclose(average.mixtures.correlation, prediction.components.correlation)
    target = np.random.default_rng(1).normal(0, 20, (4, 2))
    wanted = mixture_nll(prediction.components, torch.tensor(target))
    np.testing.assert_allclose(average.density_nll(target), wanted)
    assert not np.allclose(average.density_nll(target), average.nll(target))


def test_a_component_that_no_segment_believes_in_harms_nothing() -> None:
    prediction = _mixture(2)
    assert prediction.components is not None
    certain = prediction.components._replace(
        log_weight=torch.tensor([[0.0, -900.0, -900.0]] * 2, dtype=torch.float64)
    )
    average = average_segments(
        PlanePrediction.of_components(certain, torch.tensor(1.0)), torch.tensor([0, 0]), 1
    )
    assert average.mixtures is not None
    np.testing.assert_allclose(average.mixtures.weight[0], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(average.mixtures.mean_km[0, 0], certain.mean_km[:, 0].mean(0))
    assert np.isfinite(average.density_nll(np.zeros((1, 2)))).all()


def test_the_mixture_of_a_session_keeps_the_mean_of_its_gaussian() -> None:
    average = average_segments(_mixture(5), torch.tensor([0, 0, 1, 1, 1]), 2)
    mixtures = average.mixtures
    assert mixtures is not None
    np.testing.assert_allclose((mixtures.weight[..., None] * mixtures.mean_km).sum(1), average.mean_km)


def test_a_calibration_widens_mixtures_as_it_widens_their_gaussians() -> None:
    average = average_segments(_mixture(3), torch.arange(3), 3).spread(2.0)
    assert average.mixtures is not None
    offset = average.mixtures.mean_km - average.mean_km[:, None]
    variance = (average.mixtures.weight[..., None] * (average.mixtures.sigma_km**2 + offset**2)).sum(1)
    np.testing.assert_allclose(np.sqrt(variance), average.sigma_km)


def test_mixtures_stay_with_their_gaussians_when_parts_are_joined() -> None:
    parts = [average_segments(_mixture(3), torch.arange(3), 3) for _ in range(2)]
    joined = PlaneGaussians.concatenate(parts)
    target = np.zeros((3, 2))
    np.testing.assert_allclose(joined.density_nll(np.zeros((6, 2)))[3:], parts[1].density_nll(target))
