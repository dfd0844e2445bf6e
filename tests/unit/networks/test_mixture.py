"""A mixture of Gaussians where one cannot say that a transmitter stands either here or there."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from heimdall_core.networks import GaussianNLLLoss, LocalizationNet
from heimdall_core.networks.loss import mixture_nll
from heimdall_core.networks.prediction import Components, PlanePrediction
from heimdall_core.training.network import Construction

ORIGIN = (44.95, 8.10)
CONSTRUCTION = Construction(
    num_receivers=3,
    backbone="micro",
    covariance="full",
    origin=ORIGIN,
    plane_scale_km=50.0,
    receivers=("a", "b", "c"),
    components=4,
)


def two_places() -> Components:
    """Of two sessions; the first stands at one of two places 60 km apart."""
    return Components(
        log_weight=torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log(),
        mean_km=torch.tensor([[[-20.0, 0.0], [40.0, 0.0]], [[5.0, 5.0], [5.0, 5.0]]]),
        sigma_km=torch.tensor([[[2.0, 3.0], [4.0, 3.0]], [[7.0, 2.0], [7.0, 2.0]]]),
        correlation=torch.tensor([[0.5, -0.3], [0.8, 0.8]]),
    )


def density(components: Components, session: int, point: torch.Tensor) -> float:
    total = 0.0
    for weight, mean, sigma, rho in zip(
        components.log_weight[session].exp(),
        components.mean_km[session],
        components.sigma_km[session],
        components.correlation[session],
        strict=True,
    ):
        shared = float(rho * sigma.prod())
        covariance = [[float(sigma[0]) ** 2, shared], [shared, float(sigma[1]) ** 2]]
        total += float(weight) * multivariate_normal(mean.numpy(), covariance).pdf(point.numpy())
    return total


def draws_of(components: Components, session: int, count: int = 400_000) -> np.ndarray:
    rng = np.random.default_rng(0)
    weight = components.log_weight[session].double().softmax(0).numpy()
    chosen = rng.choice(len(weight), count, p=weight)
    draws = np.empty((count, 2))
    for k in range(len(weight)):
        east, north = components.sigma_km[session, k].numpy()
        shared = float(components.correlation[session, k]) * east * north
        here = chosen == k
        covariance = [[east**2, shared], [shared, north**2]]
        mean = components.mean_km[session, k].numpy()
        draws[here] = rng.multivariate_normal(mean, covariance, here.sum())
    return draws


def inputs(batch: int = 3) -> torch.Tensor:
    x = torch.randn(batch, 3, 128, 32, generator=torch.Generator().manual_seed(1))
    x[:, :, 123] = 1.0
    return x


def test_a_mixture_of_independent_axes_is_refused():
    with pytest.raises(ValueError, match="full"):
        LocalizationNet(3, components=2, covariance="diagonal", origin=ORIGIN)


def test_the_moments_are_those_of_many_draws():
    components = two_places()
    mean, draws = components.mean(), draws_of(components, 0)
    sigma, correlation = components.spread_about(mean)
    np.testing.assert_allclose(mean[0], draws.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(sigma[0], draws.std(axis=0), rtol=0.01)
    assert float(correlation[0]) == pytest.approx(np.corrcoef(draws.T)[0, 1], abs=0.01)


def test_components_that_agree_are_their_gaussian():
    mean = two_places().mean()
    sigma, correlation = two_places().spread_about(mean)
    torch.testing.assert_close(mean[1], torch.tensor([5.0, 5.0]))
    torch.testing.assert_close(sigma[1], torch.tensor([7.0, 2.0]))
    assert float(correlation[1]) == pytest.approx(0.8, abs=1e-5)
    torch.testing.assert_close(two_places().geometric_median(50.0)[1], torch.tensor([5.0, 5.0]))


def test_the_geometric_median_has_the_smallest_mean_distance():
    three = Components(
        log_weight=torch.tensor([[0.45, 0.35, 0.2]]).log(),
        mean_km=torch.tensor([[[-20.0, 5.0], [30.0, 0.0], [0.0, 60.0]]]),
        sigma_km=torch.tensor([[[12.0, 5.0], [8.0, 20.0], [15.0, 15.0]]]),
        correlation=torch.tensor([[0.7, -0.5, 0.0]]),
    )
    found, draws = three.geometric_median(50.0)[0].numpy(), draws_of(three, 0, 100_000)
    best = minimize(lambda place: np.linalg.norm(draws - place, axis=1).mean(), x0=[0.0, 0.0])
    np.testing.assert_allclose(found, best.x, atol=1.0)  # it is flat there
    distance = [np.linalg.norm(draws - place, axis=1).mean() for place in (found, three.mean()[0].numpy())]
    assert distance[0] < best.fun + 0.01 < distance[1] - 0.5


def test_the_gaussian_of_the_geometric_median_has_the_second_moments_about_it():
    components = two_places()
    centre = components.geometric_median(50.0)
    found = PlanePrediction.of_components(components, torch.tensor(1.0), centre)
    offset = draws_of(components, 0) - centre[0].numpy()
    torch.testing.assert_close(found.mean_km, centre)
    np.testing.assert_allclose(found.sigma_km[0], np.sqrt((offset**2).mean(axis=0)), rtol=0.01)
    wanted = (offset.prod(axis=1).mean()) / found.sigma_km[0].prod().item()
    assert float(found.correlation[0]) == pytest.approx(wanted, abs=0.01)


def test_a_calibration_moves_no_geometric_median():
    components = two_places()
    centre = components.geometric_median(50.0)
    wider = PlanePrediction.of_components(components, torch.tensor(1.5), centre)
    torch.testing.assert_close(wider.mean_km, centre)
    torch.testing.assert_close(wider.components.geometric_median(75.0), centre, atol=1e-3, rtol=0)
    torch.testing.assert_close(wider.components.spread_about(centre)[0], wider.sigma_km)


def test_the_likelihood_is_that_of_the_density():
    components, target = two_places(), torch.tensor([[35.0, 2.0], [4.0, 6.0]])
    wanted = [-math.log(density(components, session, target[session])) for session in range(2)]
    np.testing.assert_allclose(mixture_nll(components, target), wanted, rtol=1e-5)


def test_the_loss_of_a_mixture_of_one_is_that_of_the_gaussian():
    mean, sigma = torch.tensor([[1.0, -2.0]]), torch.tensor([[2.0, 3.0]])
    rho, target = torch.tensor([[0.6]]), torch.tensor([[2.5, -1.0]])
    alone = Components(torch.zeros(1, 1), mean[:, None], sigma[:, None], rho)
    loss = GaussianNLLLoss(0.5, unit_km=20.0)
    torch.testing.assert_close(loss(mean, sigma, target, rho, alone), loss(mean, sigma, target, rho))


def test_a_calibration_stretches_every_standard_deviation_and_moves_no_mean():
    prediction = PlanePrediction.of_components(two_places(), torch.tensor(1.0))
    wider = PlanePrediction.of_components(two_places(), torch.tensor(1.5))
    torch.testing.assert_close(wider.mean_km, prediction.mean_km)
    torch.testing.assert_close(wider.sigma_km, prediction.sigma_km * 1.5)
    torch.testing.assert_close(wider.components.mean(), wider.mean_km)
    sigma, correlation = wider.components.spread_about(wider.mean_km)
    torch.testing.assert_close(sigma, wider.sigma_km)
    torch.testing.assert_close(correlation, prediction.correlation)


def test_the_network_adds_its_components_to_the_outputs_of_the_contract():
    torch.manual_seed(0)
    net = CONSTRUCTION.build().eval()
    outputs = net(inputs())
    assert [tuple(o.shape) for o in outputs] == [(3, 2), (3, 2), (3, 1), (3, 4), (3, 4, 2), (3, 4, 2), (3, 4)]
    positions, uncertainties, _, weights, places, sigmas, correlations = outputs
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    torch.testing.assert_close((weights[..., None] * places).sum(1), positions, atol=2e-3, rtol=0)
    assert (uncertainties > 0).all()
    assert (sigmas > 0).all()
    assert (correlations.abs() < 1).all()


def test_components_far_narrower_than_they_are_apart_have_a_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    components = Components(
        log_weight=torch.full((4_000, 2), 0.5).log(),
        mean_km=torch.randn(4_000, 2, 2, generator=rng) * 50.0,
        sigma_km=torch.full((4_000, 2, 2), 0.01),
        correlation=torch.zeros(4_000, 2),
    )
    target, loss = components.mean_km[:, 0], GaussianNLLLoss(unit_km=50.0)
    moments = PlanePrediction.of_components(components, torch.tensor(1.0))
    for mode in (True, False):
        found = loss.train(mode)(moments.mean_km, moments.sigma_km, target, moments.correlation, components)
        assert torch.isfinite(found)


def test_a_network_answers_with_the_geometric_median_and_learns_the_same_without_it():
    torch.manual_seed(0)
    net = replace(CONSTRUCTION, point_estimate="median").build()
    nearest = net.eval().plane(inputs())
    torch.testing.assert_close(nearest.mean_km, nearest.components.geometric_median(50.0))
    net.point_estimate = "mean"
    mean = net.plane(inputs())
    assert (nearest.mean_km - mean.mean_km).norm(dim=1).min() > 0.5
    loss, target = GaussianNLLLoss(unit_km=50.0).eval(), torch.zeros(3, 2)
    losses = [loss(p.mean_km, p.sigma_km, target, p.correlation, p.components) for p in (nearest, mean)]
    torch.testing.assert_close(*losses)


def test_components_begin_at_different_places():
    torch.manual_seed(0)
    components = CONSTRUCTION.build().eval().plane(inputs()).components
    assert torch.pdist(components.mean_km[0]).min() > 5.0


def test_one_component_is_the_network_without_a_mixture():
    torch.manual_seed(0)
    plain = LocalizationNet(3, covariance="full", origin=ORIGIN)
    torch.manual_seed(0)
    single = replace(CONSTRUCTION, components=1).build()
    assert plain.state_dict().keys() == single.state_dict().keys()
    assert plain.eval().plane(inputs()).components is None


def test_a_mixture_learns_two_places_that_a_gaussian_cannot_tell_apart():
    torch.manual_seed(0)
    places = torch.tensor([[-30.0, 0.0], [30.0, 0.0]])
    target = places[torch.arange(256) % 2] + torch.randn(256, 2)
    bias = torch.zeros(4, 6)
    bias[:, :2] = torch.randn(4, 2)
    bias.requires_grad_()
    optimizer = torch.optim.Adam([bias], lr=0.05)
    for _ in range(300):
        components = Components(
            log_weight=bias[None, :, 5].log_softmax(1).expand(256, -1),
            mean_km=bias[None, :, :2].expand(256, -1, -1) * 30.0,
            sigma_km=bias[None, :, 2:4].exp().expand(256, -1, -1) * 10.0,
            correlation=bias[None, :, 4].tanh().expand(256, -1),
        )
        moments = PlanePrediction.of_components(components, torch.tensor(1.0))
        loss = GaussianNLLLoss(unit_km=30.0)(
            moments.mean_km, moments.sigma_km, target, moments.correlation, components
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        mixture = float(mixture_nll(components, target).mean())
    covariance = np.cov(target.numpy().T)
    gaussian = -multivariate_normal(target.mean(0).numpy(), covariance).logpdf(target.numpy()).mean()
    assert mixture < gaussian - 1.0
