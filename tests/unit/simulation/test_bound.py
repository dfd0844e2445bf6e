import numpy as np
import pytest
from scipy.stats import binom, norm

from heimdall_core.simulation.band_evidence import log_band_evidence
from heimdall_core.simulation.bound import bayes_posterior, level_likelihood, log_likelihood_at
from heimdall_core.simulation.level_likelihood import LevelLikelihood, silence_probability
from heimdall_core.simulation.link_budget import FREQUENCIES_HZ, median_snr_db
from heimdall_core.simulation.sites import EAST_KM, NORTH_KM, SITES
from heimdall_core.simulation.world_a import WORLD_A, WorldADraw, draw_world_a
from heimdall_core.simulation.world_b import WORLD_B, draw_world_b

COARSE_KM = 2.5


def cells(cell_km):
    axes = [np.arange(low + cell_km / 2, high, cell_km) for low, high in (EAST_KM, NORTH_KM)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def assert_plausible_share(count, total, probability):
    low, high = binom.interval(0.999, total, probability)
    assert low <= count <= high


@pytest.fixture(scope="module")
def draw() -> WorldADraw:
    return draw_world_a(800, seed=11)


@pytest.fixture(scope="module")
def posterior(draw):
    return bayes_posterior(draw, cell_km=COARSE_KM)


def test_nothing_to_locate_and_cells_that_do_not_tile_the_box_are_refused(draw):
    with pytest.raises(ValueError, match="no sessions"):
        bayes_posterior(draw.take(slice(0)))
    with pytest.raises(ValueError, match="cell_km=3 does not divide"):
        bayes_posterior(draw, cell_km=3.0)


@pytest.mark.parametrize("percent", [50, 68, 90, 95])
def test_the_truth_lies_in_the_credible_region_as_often_as_it_says(posterior, percent):
    inside = int((posterior.credibility <= percent / 100).sum())
    assert_plausible_share(inside, len(posterior), percent / 100)


def test_errors_are_as_large_as_the_posterior_expects(posterior):
    excess = posterior.error_km**2 - posterior.expected_squared_error_km2
    assert abs(excess.mean()) < 3.3 * excess.std() / np.sqrt(len(excess))


def test_log_densities_are_those_of_a_calibrated_posterior(posterior):
    summary = posterior.summary()
    assert summary["nll_per_km2"] < summary["gaussian_nll_per_km2"] < np.log(175 * 130)
    assert summary["mean_error_of_median_km"] < summary["mean_error_km"]


def test_silence_and_dropouts_cost_little_against_a_world_where_everybody_hears(posterior):
    # SIGNAL's first estimate, without both: 28.2 / 24.6 / 33.9 km.
    summary = posterior.summary()
    assert 28.2 < summary["mean_error_km"] < 34
    assert 24.6 < summary["median_error_km"] < 30
    assert 33.9 < summary["rmse_km"] < 40


def test_with_all_receivers_hearing_errors_are_those_known_for_such_a_network():
    rng = np.random.default_rng(5)
    n = 2000
    truth = np.stack([rng.uniform(*EAST_KM, n), rng.uniform(*NORTH_KM, n)], axis=1)
    level = median_snr_db(*truth.T, np.full(n, 145.5e6)) + rng.normal(0, 5, (n, 1)) + rng.normal(0, 8, (n, 7))
    places = cells(COARSE_KM)
    log_likelihood = level_likelihood(WORLD_A, places, 145.5e6).of_pattern(level, np.full(7, True))
    weight = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    mean = weight @ places / weight.sum(axis=1, keepdims=True)
    error = np.linalg.norm(mean - truth, axis=1)
    assert [error.mean(), np.median(error), np.sqrt((error**2).mean())] == pytest.approx(
        [28.2, 24.6, 33.9], rel=0.05
    )


def test_a_brute_force_integration_gives_the_same_posterior(draw):
    cell_km, index = 5.0, int(np.flatnonzero(draw.is_recorded.sum(axis=1) == 4)[0])
    session = draw.take(slice(index, index + 1))
    found = bayes_posterior(session, cell_km=cell_km)

    def density(place):
        powers = np.linspace(-35, 35, 2001)
        median = median_snr_db(place[0], place[1], session.frequency_hz[0])
        joint = norm.pdf(powers, 0, 5)
        for r, heard in enumerate(session.is_recorded[0]):
            level = median[r] + powers
            too_weak = 0.1 + 0.9 * norm.cdf(-level / 8)
            joint = joint * (0.9 * norm.pdf(session.snr_db[0, r], level, 8) if heard else too_weak)
        return np.trapezoid(joint, powers)

    places = cells(cell_km)
    likelihood = np.array([density(p) for p in places])
    probability = likelihood / likelihood.sum()
    at_truth = density(session.truth_km[0])
    mean = probability @ places
    covariance = (probability * (places - mean).T) @ (places - mean) + cell_km**2 / 12 * np.eye(2)
    assert found.mean_km[0] == pytest.approx(mean, abs=1e-3)
    assert found.covariance_km2[0] == pytest.approx(covariance, rel=1e-4, abs=1e-2)
    assert found.log_density_at_truth[0] == pytest.approx(
        np.log(at_truth / likelihood.sum() / cell_km**2), abs=1e-5
    )
    assert found.credibility[0] == pytest.approx(probability[likelihood > at_truth].sum(), abs=1e-4)


def test_finer_cells_change_nothing_that_matters(draw, posterior):
    some = np.arange(0, 800, 40)
    fine = bayes_posterior(draw.take(some))
    assert np.linalg.norm(fine.mean_km - posterior.mean_km[some], axis=1).max() < 0.2
    assert fine.log_density_at_truth == pytest.approx(posterior.log_density_at_truth[some], abs=0.03)


def test_the_order_of_receivers_does_not_matter(draw):
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    is_heard = draw.is_recorded[0]
    same = draw.take((draw.is_recorded == is_heard).all(axis=1))
    median = median_snr_db(*cells(5.0).T, np.full(910, 145.5e6))
    straight = LevelLikelihood(median_db=median, sigma_db=8.0).of_pattern(same.snr_db, is_heard)
    shuffled = LevelLikelihood(median_db=median[:, order], sigma_db=8.0)
    assert shuffled.of_pattern(same.snr_db[:, order], is_heard[order]) == pytest.approx(straight, abs=1e-5)


def test_the_order_of_sessions_does_not_matter(draw, posterior):
    some = np.arange(50)[::-1]
    assert bayes_posterior(draw.take(some), cell_km=COARSE_KM).mean_km == pytest.approx(
        posterior.mean_km[some], abs=1e-5
    )


def test_levels_of_silent_receivers_are_not_looked_at(draw):
    few = draw.take(slice(20))
    hidden = np.where(few.is_recorded, few.snr_db, np.nan)
    blind = WorldADraw(world=few.world, **(few.arrays() | {"snr_db": hidden}))
    assert bayes_posterior(blind, cell_km=5.0).log_density_at_truth == pytest.approx(
        bayes_posterior(few, cell_km=5.0).log_density_at_truth, abs=1e-5
    )


def test_seven_strong_receivers_tell_more_than_two_of_them(draw):
    everywhere = draw.take(draw.is_recorded.all(axis=1) & (draw.snr_db.min(axis=1) > 5.0))
    two = np.isin(np.arange(len(SITES)), [0, 6]) & everywhere.is_recorded
    fewer = WorldADraw(world=draw.world, **(everywhere.arrays() | {"is_recorded": two}))
    area, area_of_two = (
        np.sqrt(np.linalg.det(bayes_posterior(d, cell_km=5.0).covariance_km2)) for d in (everywhere, fewer)
    )
    assert len(everywhere) > 20
    assert area.mean() < 0.8 * area_of_two.mean()


@pytest.mark.parametrize("world", [WORLD_A, WORLD_B])
def test_pairs_and_grid_are_on_one_scale(world):
    draw = draw_world_a(40, seed=2)
    places = np.random.default_rng(0).uniform([EAST_KM[0], NORTH_KM[0]], [EAST_KM[1], NORTH_KM[1]], (40, 2))
    likelihood = level_likelihood(world, places, 433.5e6)
    pairs = likelihood.of_pairs(draw.snr_db, draw.is_recorded)
    for i in range(40):
        grid = likelihood.of_pattern(draw.snr_db[i : i + 1], draw.is_recorded[i])
        assert grid[0, i] == pytest.approx(pairs[i], abs=1e-5)


def test_silence_is_certain_far_away_and_a_dropout_near():
    assert silence_probability(np.array([-80.0, 0.0, 80.0]), 8.0) == pytest.approx([1.0, 0.55, 0.1])


def test_two_carriers_tell_the_band_and_one_leaves_it_likely(draw):
    evidence = log_band_evidence(draw, "inferred")
    is_truth = draw.frequency_hz[:, None] == np.array(FREQUENCIES_HZ)
    num_heard = draw.is_recorded.sum(axis=1)
    assert np.isfinite(evidence[is_truth]).all()
    assert np.isneginf(evidence[~is_truth][num_heard >= 2]).all()
    lone = draw_world_a(20_000, seed=4)
    lone = lone.take(lone.is_recorded.sum(axis=1) == 1)
    of_lone = log_band_evidence(lone, "inferred")
    belief = np.exp(of_lone - of_lone.max(axis=1, keepdims=True))
    belief /= belief.sum(axis=1, keepdims=True)
    is_low = lone.frequency_hz == FREQUENCIES_HZ[0]
    assert 0.6 < belief[is_low, 0].mean() < 1.0


def test_the_band_matters_little(draw, posterior):
    unknown = bayes_posterior(draw, band="unknown", cell_km=5.0).summary()
    known = bayes_posterior(draw, band="known", cell_km=5.0).summary()
    assert known["rmse_km"] == pytest.approx(posterior.summary()["rmse_km"], rel=0.005)
    assert known["nll_per_km2"] < unknown["nll_per_km2"] < known["nll_per_km2"] + 0.05


@pytest.mark.slow
def test_in_world_b_who_knows_the_map_knows_how_well():
    draw = draw_world_b(200, seed=7)
    found = bayes_posterior(draw, cell_km=1.0)
    for percent in (50, 68, 90):
        assert_plausible_share(int((found.credibility <= percent / 100).sum()), 200, percent / 100)
    assert found.summary()["nll_per_km2"] < 7.0


def test_likelihood_at_a_place_favours_the_truth(draw):
    evidence = log_band_evidence(draw, "known")
    elsewhere = draw.truth_km[::-1]
    gain = log_likelihood_at(draw, draw.truth_km, evidence) - log_likelihood_at(draw, elsewhere, evidence)
    assert gain.mean() > 1.0
