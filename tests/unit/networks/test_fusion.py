"""A network's Gaussian times what a radio map makes of the levels."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from heimdall_core.features import rows
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.fusion import RadioFusion
from heimdall_core.networks.prediction import PlanePrediction

CELL_KM = 0.1
AXIS = torch.arange(-2.0, 2.0, CELL_KM) + CELL_KM / 2
CELLS = torch.cartesian_prod(AXIS, AXIS)


def expected_db(cells: torch.Tensor) -> torch.Tensor:
    """Receiver 0 stands in the west, receiver 1 in the south."""
    return torch.stack(
        [30.0 - 8.0 * cells[:, 0], 20.0 - 6.0 * cells[:, 1], torch.full((len(cells),), np.nan)]
    )


def fusion(*, exponent: float = 1.0, stretch: float = 1.0, sigma_db: float = 4.0) -> RadioFusion:
    mean = expected_db(CELLS)
    return RadioFusion(
        cells_km=CELLS,
        cell_km=CELL_KM,
        mean_db=mean,
        sigma_db=torch.full_like(mean, sigma_db),
        exponent=exponent,
        stretch=stretch,
    )


def side(*levels_db: float | None) -> torch.Tensor:
    """(1, 3, 8); None: the receiver did not hear."""
    found = torch.zeros(1, 3, rows.NUM_SIDE_ROWS)
    for receiver, level in enumerate(levels_db):
        if level is not None:
            found[0, receiver, rows.SNR_ROW - rows.FIRST_SIDE_ROW] = level / rows.DB_SCALE
            found[0, receiver, rows.PRESENCE_ROW - rows.FIRST_SIDE_ROW] = 1.0
    return found


def gaussian(
    east: float = 0.0, north: float = 0.0, *, sigma: tuple[float, float] = (0.5, 0.3), rho: float = 0.4
) -> PlanePrediction:
    return PlanePrediction(
        mean_km=torch.tensor([[east, north]]),
        sigma_km=torch.tensor([sigma]),
        correlation=torch.tensor([[rho]]),
    )


def test_the_answer_has_the_moments_of_the_product_of_both_densities() -> None:
    own, heard = gaussian(0.2, -0.1), side(26.0, 23.0, 12.0)
    found = fusion(exponent=0.5)(heard, own)
    covariance = np.array([[0.25, 0.4 * 0.15], [0.4 * 0.15, 0.09]])
    fine = np.stack(np.meshgrid(*[np.linspace(-2, 2, 801)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    density = multivariate_normal([0.2, -0.1], covariance).logpdf(fine)
    for level, receiver in ((26.0, 0), (23.0, 1)):
        density += 0.5 * norm(expected_db(torch.from_numpy(fine))[receiver].numpy(), 4.0).logpdf(level)
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    mean = weight @ fine
    second = (fine - mean).T @ (weight[:, None] * (fine - mean))
    np.testing.assert_allclose(found.mean_km[0], mean, atol=0.01)
    np.testing.assert_allclose(found.sigma_km[0], np.sqrt(np.diag(second)), rtol=0.03)
    assert found.correlation is not None
    assert float(found.correlation[0]) == pytest.approx(
        second[0, 1] / np.sqrt(np.diag(second).prod()), abs=0.03
    )


def test_the_geometric_median_of_the_product_is_nearer_on_average_than_its_mean() -> None:
    """Receiver 1 tells north from south; the map mistakes them, so that two places are likely."""
    both = fusion(sigma_db=1.5)
    both.linear[1] = 0.0
    both.quadratic[1] = -0.5 / 1.5**2
    both.constant[1] = 0.0
    level = 3.0 + 9.0 * (CELLS[:, 1].abs() - 1.0)
    both.linear[1] = level / 1.5**2
    both.constant[1] = -0.5 * level**2 / 1.5**2
    both.centre_db[1] = 0.0
    own, heard = gaussian(0.0, 0.4, sigma=(0.6, 1.2), rho=0.0), side(30.0, 3.0)
    mean, median = both(heard, own), both(heard, own, "median")
    density = both._log_density(own) + both.log_likelihood(heard)
    weight = torch.softmax(density, 1)[0]

    def distance(place: torch.Tensor) -> float:
        return float((weight * (CELLS - place).norm(dim=1)).sum())

    assert float(median.mean_km[0, 1]) > float(mean.mean_km[0, 1]) + 0.2
    assert distance(median.mean_km[0]) < distance(mean.mean_km[0]) - 0.02
    assert (median.sigma_km > mean.sigma_km).any()


def test_the_median_far_from_the_map_is_the_networks_own_place() -> None:
    own = gaussian(40.0, -7.0)
    torch.testing.assert_close(fusion()(side(26.0, 23.0), own, "median").mean_km, own.mean_km)


def test_who_did_not_hear_or_has_no_map_says_nothing() -> None:
    alone = fusion()(side(26.0, None, None), gaussian())
    with_unmapped = fusion()(side(26.0, None, 55.0), gaussian())
    torch.testing.assert_close(alone.mean_km, with_unmapped.mean_km)
    nobody = fusion()(side(None, None, None), gaussian())
    torch.testing.assert_close(nobody.mean_km, gaussian().mean_km, atol=0.01, rtol=0)
    torch.testing.assert_close(nobody.sigma_km, gaussian().sigma_km, atol=0.02, rtol=0)


def test_a_network_that_answers_far_from_the_map_is_left_alone() -> None:
    own = gaussian(40.0, -7.0)
    found = fusion()(side(26.0, 23.0), own)
    torch.testing.assert_close(found.mean_km, own.mean_km)
    torch.testing.assert_close(found.sigma_km, own.sigma_km)


def test_at_the_edge_of_the_map_both_answers_count_by_their_share() -> None:
    found = fusion()(side(14.0, 20.0), gaussian(2.0, 0.0, rho=0.0))
    assert 1.5 < float(found.mean_km[0, 0]) < 2.3
    assert float(found.sigma_km[0, 0]) > 0.3


def test_levels_that_nobody_expected_make_no_nonsense() -> None:
    found = fusion(sigma_db=1.0)(side(-300.0, 400.0), gaussian())
    assert torch.isfinite(found.mean_km).all()
    assert (found.sigma_km > 0).all()


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("at", [0.0, 0.02, 0.05])
def test_levels_that_say_nothing_change_little_however_narrow_the_answer_is(share: float, at: float) -> None:
    sigma = share * CELL_KM
    own = gaussian(at, 0.03, sigma=(sigma, sigma), rho=0.3)
    found = fusion()(side(None, None), own)
    assert (found.mean_km - own.mean_km).norm() < 0.05 * max(sigma, CELL_KM)
    torch.testing.assert_close(found.sigma_km, own.sigma_km, rtol=0.15, atol=0.0)


def test_stretch_widens_the_network_before_the_product() -> None:
    wide = fusion(exponent=0.0, stretch=2.0)(side(26.0), gaussian(sigma=(0.3, 0.3), rho=0.0))
    torch.testing.assert_close(wide.sigma_km, torch.full((1, 2), 0.6), atol=0.02, rtol=0)


def test_axes_that_are_independent_stay_so() -> None:
    own = gaussian()._replace(correlation=None)
    assert fusion()(side(26.0, 23.0), own).correlation is None


def network(**options: object) -> LocalizationNet:
    torch.manual_seed(0)
    return LocalizationNet(3, covariance="full", origin=(44.95, 8.1), plane_scale_km=1.0, **options).eval()


def inputs() -> torch.Tensor:
    x = torch.zeros(2, 3, rows.NUM_ROWS, 32)
    x[:, :, rows.FIRST_SIDE_ROW :] = side(26.0, 23.0)[0, :, :, None]
    return x


def test_a_network_is_fused_in_its_answers_alone_and_keeps_its_state() -> None:
    net = network()
    state, own, training = net.state_dict(), net.plane(inputs()), net.train().plane(inputs())
    net.eval().fuse(fusion())
    assert net.state_dict().keys() == state.keys()
    fused = net.plane(inputs())
    assert (fused.mean_km - own.mean_km).norm(dim=1).min() > 0.01
    torch.manual_seed(3)
    first = net.train().plane(inputs())
    net.fuse(None)
    torch.manual_seed(3)
    torch.testing.assert_close(first.mean_km, net.plane(inputs()).mean_km)
    assert training.mean_km.shape == own.mean_km.shape
    torch.testing.assert_close(net.eval().plane(inputs()).mean_km, own.mean_km)


def test_a_calibration_stretches_what_was_fused() -> None:
    net = network()
    net.fuse(fusion())
    before = net.plane(inputs())
    net.set_calibration(1.5)
    after = net.plane(inputs())
    torch.testing.assert_close(after.mean_km, before.mean_km)
    torch.testing.assert_close(after.sigma_km, 1.5 * before.sigma_km)


def test_a_mixture_is_not_fused() -> None:
    with pytest.raises(ValueError, match="mixture"):
        network(components=2).fuse(fusion())
