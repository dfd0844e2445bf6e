"""How far a network gains by the radio map of its training split."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heimdall_core.domain.ports import JobStopped
from heimdall_core.features import FeatureSet, rows
from heimdall_core.networks import LocalizationNet, PlanePrediction
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.fusion import fit_fusion
from heimdall_core.training.inference import predict
from heimdall_core.training.radio_map import RadioGrid, _cells, fit_radio_map

NUM_SESSIONS = 240
SITES_KM = np.array([[0.0, 0.0], [3.0, 0.5], [1.0, 3.0]])


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    """Levels that tell the place, and a network that has learnt nothing."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.0, 3.0, (NUM_SESSIONS, 2))
    distance = np.hypot(np.linalg.norm(places[:, None] - SITES_KM, axis=-1), 0.1)
    snr_db = 40.0 - 30.0 * np.log10(distance) + rng.normal(0.0, 1.0, (NUM_SESSIONS, 3))
    inputs = np.zeros((NUM_SESSIONS, 3, rows.NUM_ROWS, 32), np.float32)
    inputs[:, :, rows.SNR_ROW] = (snr_db / rows.DB_SCALE)[:, :, None]
    inputs[:, :, rows.PRESENCE_ROW] = 1.0
    inputs[:, :, 125:127] = (SITES_KM / rows.POSITION_SCALE_KM)[None, :, :, None]
    return FeatureSet(
        inputs=inputs,
        first_segment=np.arange(NUM_SESSIONS + 1),
        targets_km=places.astype(np.float32),
        positions_deg=np.zeros((NUM_SESSIONS, 2)),
        snr_db=snr_db.astype(np.float32),
        session_ids=tuple(str(i) for i in range(NUM_SESSIONS)),
        splits=("train",) * 160 + ("val",) * 40 + ("test",) * 40,
        was_cached=True,
    )


@pytest.fixture(scope="module")
def grid(features: FeatureSet) -> RadioGrid:
    found = fit_radio_map(features, features.indices("train"), reach_km=0.4, seed=1, with_grid=True).grid
    assert found is not None
    return found


class _Vague(LocalizationNet):
    """Somewhere here, it says to everything."""

    def plane(self, x: torch.Tensor) -> PlanePrediction:
        own = PlanePrediction(
            mean_km=torch.full((len(x), 2), 1.5),
            sigma_km=torch.full((len(x), 2), 1.0),
            correlation=torch.zeros(len(x), 1),
        )
        side = x[:, :, rows.FIRST_SIDE_ROW :].mean(-1)
        return own if self.fusion is None else self.fusion(side, own)


def vague() -> LocalizationNet:
    return _Vague(3, covariance="full", origin=(44.95, 8.1), plane_scale_km=1.0)


def test_the_grid_covers_what_is_near_the_training_places(features: FeatureSet, grid: RadioGrid) -> None:
    assert grid.cell_km == pytest.approx(0.1)
    assert grid.mean_db.shape == grid.sigma_db.shape == (3, len(grid.cells_km))
    places = features.targets_km[features.indices("train")]
    distance = np.linalg.norm(grid.cells_km[:, None] - places[None], axis=2)
    assert distance.min(axis=0).max() < grid.cell_km  # every place lies in some cell
    assert distance.min(axis=1).max() < 0.61  # and no cell far from all places
    truth = 40.0 - 30.0 * np.log10(np.hypot(np.linalg.norm(grid.cells_km[:, None] - SITES_KM, axis=-1), 0.1))
    assert np.abs(grid.mean_db.T - truth).mean() < 1.0


def test_a_grid_of_a_wide_region_has_larger_cells_not_more(features: FeatureSet) -> None:
    wide = replace(features, targets_km=features.targets_km * 100.0)
    found = fit_radio_map(wide, wide.indices("train"), reach_km=0.4, seed=1, with_grid=True).grid
    assert found is not None
    assert len(found.cells_km) <= 10_000
    distance = np.abs(found.cells_km[:, None] - wide.targets_km[wide.indices("train")][None]).max(axis=2)
    assert distance.min(axis=0).max() <= found.cell_km / 2 * (1 + 1e-4)  # every place lies in a cell


def test_a_road_pays_for_no_empty_land_and_many_places_get_larger_cells(features: FeatureSet) -> None:
    along = np.linspace(0.0, 100.0, len(features.targets_km), dtype=np.float32)
    road = replace(features, targets_km=np.stack([along, 0.5 * along], axis=1))
    cells, cell_km = _cells(road.targets_km.astype(np.float64), 0.4)
    assert cell_km < 0.2  # of a box about it, they would have to be 0.7 km
    dense = np.random.default_rng(0).uniform(0.0, 100.0, (5_000, 2))
    cells, cell_km = _cells(dense, 0.5)
    assert len(cells) <= 10_000
    assert cell_km > 0.5
    distance = np.abs(cells[:, None] - dense[None, :500]).max(axis=2)
    assert distance.min(axis=0).max() <= cell_km / 2 * (1 + 1e-9)


def test_the_places_of_the_map_are_the_same_with_a_grid(features: FeatureSet) -> None:
    train = features.indices("train")
    alone = fit_radio_map(features, train, reach_km=0.4, seed=1)
    beside = fit_radio_map(features, train, reach_km=0.4, seed=1, with_grid=True)
    assert alone.grid is None
    np.testing.assert_array_equal(alone.places_km, beside.places_km)
    np.testing.assert_allclose(alone.mean_db, beside.mean_db, atol=1e-3)


def test_a_vague_network_gains_much_on_places_that_nobody_trained_on(
    features: FeatureSet, grid: RadioGrid
) -> None:
    net, test = vague(), HeimdallDataset(features, "test", training=False)
    before = np.linalg.norm(predict(net, test).mean_km - test.targets_km, axis=1).mean()
    progress: list[float] = []
    exponent = fit_fusion(net, grid, HeimdallDataset(features, "val", training=False), progress.append)
    after = np.linalg.norm(predict(net, test).mean_km - test.targets_km, axis=1).mean()
    assert exponent >= 0.7
    assert net.fusion is not None
    assert after < 0.3 * before
    assert progress


def test_a_stop_is_heard_while_the_exponent_is_chosen(features: FeatureSet, grid: RadioGrid) -> None:
    calls = iter(range(1_000))

    def stop(_: float) -> None:
        if next(calls) == 3:
            raise JobStopped("cancel")

    with pytest.raises(JobStopped):
        fit_fusion(vague(), grid, HeimdallDataset(features, "val", training=False), stop)


def test_a_map_that_is_wrong_is_left_out(features: FeatureSet, grid: RadioGrid) -> None:
    net = vague()
    mirrored = replace(grid, mean_db=grid.mean_db[:, ::-1].copy(), sigma_db=np.full_like(grid.sigma_db, 1.0))
    assert fit_fusion(net, mirrored, HeimdallDataset(features, "val", training=False)) == 0.0
    assert net.fusion is None


def test_without_any_receiver_that_heard_enough_there_is_nothing_to_fuse(
    features: FeatureSet, grid: RadioGrid
) -> None:
    empty = replace(grid, mean_db=grid.mean_db * np.nan, sigma_db=grid.sigma_db * np.nan)
    assert fit_fusion(vague(), empty, HeimdallDataset(features, "val", training=False)) == 0.0
