import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from heimdall_core.networks import GaussianNLLLoss

MEAN = torch.tensor([[1.0, -2.0], [10.0, 4.0], [-3.0, 0.5]])
SIGMA = torch.tensor([[2.0, 3.0], [0.5, 8.0], [1.0, 1.0]])
TARGET = torch.tensor([[2.5, -1.0], [9.8, -6.0], [-3.0, 0.5]])
RHO = torch.tensor([[0.6], [-0.9], [0.0]])


def closed_form(rho: torch.Tensor) -> float:
    densities = []
    for mean, (east, north), target, r in zip(MEAN, SIGMA, TARGET, rho.ravel(), strict=True):
        shared = float(r * east * north)
        covariance = [[float(east) ** 2, shared], [shared, float(north) ** 2]]
        densities.append(multivariate_normal(mean.numpy(), covariance).logpdf(target.numpy()))
    return -float(np.mean(densities))


@pytest.mark.parametrize("beta", [-0.1, 1.5])
def test_a_beta_outside_its_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        GaussianNLLLoss(beta)


def test_a_unit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="unit_km"):
        GaussianNLLLoss(unit_km=0.0)


def test_independent_axes_equal_the_closed_form():
    loss = GaussianNLLLoss(beta=0.0)(MEAN, SIGMA, TARGET)
    assert float(loss) == pytest.approx(closed_form(torch.zeros(3, 1)), rel=1e-5)


def test_correlated_axes_equal_the_closed_form():
    loss = GaussianNLLLoss(beta=0.0)(MEAN, SIGMA, TARGET, RHO)
    assert float(loss) == pytest.approx(closed_form(RHO), rel=1e-5)


def test_no_correlation_equals_a_correlation_of_zero():
    loss = GaussianNLLLoss(beta=0.0)
    torch.testing.assert_close(loss(MEAN, SIGMA, TARGET), loss(MEAN, SIGMA, TARGET, torch.zeros(3, 1)))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_multiplies_each_gradient_by_sigma_to_two_beta(beta):
    mean = MEAN.clone().requires_grad_()
    GaussianNLLLoss(beta)(mean, SIGMA, TARGET).backward()
    plain = (MEAN - TARGET) / SIGMA**2 / len(MEAN)
    torch.testing.assert_close(mean.grad, plain * SIGMA ** (2 * beta))


def test_no_gradient_flows_through_the_weight():
    sigma = SIGMA.clone().requires_grad_()
    GaussianNLLLoss(0.5)(MEAN, sigma, TARGET).backward()
    plain = (1 / SIGMA - (TARGET - MEAN) ** 2 / SIGMA**3) / len(MEAN)
    torch.testing.assert_close(sigma.grad, plain * SIGMA)


def test_both_covariances_weigh_alike_where_the_axes_are_alike():
    sigma = torch.full((3, 2), 4.0)
    loss = GaussianNLLLoss(0.5)
    torch.testing.assert_close(loss(MEAN, sigma, TARGET), loss(MEAN, sigma, TARGET, torch.zeros(3, 1)))


def test_the_unit_scales_the_whole_loss():
    in_km, in_units = GaussianNLLLoss(0.5), GaussianNLLLoss(0.5, unit_km=50.0)
    torch.testing.assert_close(in_units(MEAN, SIGMA, TARGET) * 50.0, in_km(MEAN, SIGMA, TARGET))


def test_a_perfect_prediction_costs_the_normalisation_alone():
    loss = GaussianNLLLoss(0.0)(TARGET, torch.ones(3, 2), TARGET)
    assert float(loss) == pytest.approx(math.log(2 * math.pi))
