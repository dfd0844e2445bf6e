"""Items move to places nearby and get the levels that a map of the training split has there."""

import numpy as np
import pytest

from heimdall_core.features import FeatureSet, rows
from heimdall_core.training.radio_map import NUM_PLACES, RadioMap, Relocation, fit_radio_map

NUM_SESSIONS, SCATTER_DB = 160, 1.0
SITES_KM = np.array([[0.0, 0.0], [3.0, 0.5], [1.0, 3.0]])


def true_snr_db(places_km: np.ndarray) -> np.ndarray:
    """Path loss and a hill's shadow, without scatter: (..., 2) -> (..., 3)."""
    distance = np.hypot(np.linalg.norm(places_km[..., None, :] - SITES_KM, axis=-1), 0.1)
    hill = 6.0 * np.exp(-((places_km - [1.5, 1.5]) ** 2).sum(-1))
    return 40.0 - 30.0 * np.log10(distance) - hill[..., None]


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    """Receiver 1 missed every third session, receiver 2 all but a few."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.0, 3.0, (NUM_SESSIONS, 2))
    snr_db = true_snr_db(places) + rng.normal(0.0, SCATTER_DB, (NUM_SESSIONS, 3))
    snr_db[::3, 1] = np.nan
    snr_db[20:, 2] = np.nan
    heard = np.isfinite(snr_db)
    inputs = np.zeros((NUM_SESSIONS, 3, rows.NUM_ROWS, 32), np.float32)
    inputs[:, :, : rows.FIRST_SIDE_ROW] = 0.5
    inputs[:, :, rows.SNR_ROW] = np.nan_to_num(snr_db / rows.DB_SCALE)[:, :, None]
    inputs[:, :, rows.PRESENCE_ROW] = 1.0
    inputs[:, :, 125:127] = (SITES_KM / rows.POSITION_SCALE_KM)[None, :, :, None]
    inputs[~heard] = 0.0
    return FeatureSet(
        inputs=inputs,
        first_segment=np.arange(NUM_SESSIONS + 1),
        targets_km=places.astype(np.float32),
        positions_deg=np.zeros((NUM_SESSIONS, 2)),
        snr_db=snr_db.astype(np.float32),
        session_ids=tuple(str(i) for i in range(NUM_SESSIONS)),
        splits=("train",) * NUM_SESSIONS,
        was_cached=True,
    )


@pytest.fixture(scope="module")
def radio_map(features: FeatureSet) -> RadioMap:
    return fit_radio_map(features, features.indices("train"), reach_km=0.2, seed=1)


def apply(
    radio_map: RadioMap, features: FeatureSet, keys: list[tuple[int, int]], *, share: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    index = [i for _, i in keys]
    inputs, targets = features.inputs[index].copy(), features.targets_km[index].copy()
    Relocation(radio_map=radio_map, share=share).apply(inputs, targets, keys, seed=3)
    return inputs, targets


def test_the_map_knows_the_levels_between_the_measured_places(radio_map: RadioMap) -> None:
    truth = true_snr_db(radio_map.places_km.astype(float))[..., :2]
    error_db = radio_map.mean_db[..., :2] - truth
    assert np.sqrt((error_db**2).mean()) < SCATTER_DB
    assert 0.8 * SCATTER_DB < np.median(radio_map.sigma_db[..., :2]) < 2.0 * SCATTER_DB


def test_the_map_is_less_sure_far_from_all_measurements(features: FeatureSet) -> None:
    far = fit_radio_map(features, features.indices("train"), reach_km=5.0, seed=1)
    near = fit_radio_map(features, features.indices("train"), reach_km=0.01, seed=1)
    assert np.nanmedian(far.sigma_db) > 1.5 * np.nanmedian(near.sigma_db)


def test_a_receiver_that_hardly_heard_has_no_map_and_keeps_its_level(
    radio_map: RadioMap, features: FeatureSet
) -> None:
    assert np.isnan(radio_map.mean_db[..., 2]).all()
    inputs, _ = apply(radio_map, features, [(0, i) for i in range(20)])
    np.testing.assert_array_equal(inputs[:, 2], features.inputs[:20, 2])


def test_the_same_split_and_seed_give_the_same_map(features: FeatureSet, radio_map: RadioMap) -> None:
    again = fit_radio_map(features, features.indices("train"), reach_km=0.2, seed=1)
    np.testing.assert_array_equal(again.mean_db, radio_map.mean_db)
    other = fit_radio_map(features, features.indices("train"), reach_km=0.2, seed=2)
    assert not np.array_equal(other.places_km, radio_map.places_km)


def test_a_moved_item_is_labelled_with_one_of_its_places(radio_map: RadioMap, features: FeatureSet) -> None:
    _, targets = apply(radio_map, features, [(0, i) for i in range(NUM_SESSIONS)])
    is_one = (targets[:, None] == radio_map.places_km).all(-1)
    assert is_one.any(1).all()
    assert set(is_one.argmax(1)) == set(range(NUM_PLACES))


def test_a_moved_item_is_as_loud_as_the_map_has_it_there(radio_map: RadioMap, features: FeatureSet) -> None:
    inputs, targets = apply(radio_map, features, [(0, i) for i in range(NUM_SESSIONS)])
    heard = features.inputs[:, 0, rows.PRESENCE_ROW, 0] > 0
    snr_db = inputs[heard, 0, rows.SNR_ROW, 0] * rows.DB_SCALE
    error_db = snr_db - true_snr_db(targets[heard].astype(float))[:, 0]
    assert 0.7 * SCATTER_DB < error_db.std() < 2.0 * SCATTER_DB


def test_bands_and_power_move_with_the_snr(radio_map: RadioMap, features: FeatureSet) -> None:
    inputs, _ = apply(radio_map, features, [(0, i) for i in range(30)])
    shift = (inputs - features.inputs[:30])[:, 0]
    np.testing.assert_allclose(shift[:, 0], shift[:, rows.SNR_ROW], atol=1e-5)
    in_db = shift[:, rows.SNR_ROW] * rows.DB_SCALE
    np.testing.assert_allclose(shift[:, rows.POWER_ROW] * rows.DBFS_SCALE, in_db, atol=1e-3)
    assert not shift[:, rows.FLOOR_ROW :].any()


def test_silence_stays_silence(radio_map: RadioMap, features: FeatureSet) -> None:
    inputs, _ = apply(radio_map, features, [(0, 0), (0, 3)])
    assert not inputs[:, 1].any()


def test_what_does_not_move_is_left_as_it_was(radio_map: RadioMap, features: FeatureSet) -> None:
    keys = [(0, i) for i in range(NUM_SESSIONS)]
    inputs, targets = apply(radio_map, features, keys, share=0.5)
    stays = (targets == features.targets_km).all(1)
    assert 0.35 < stays.mean() < 0.65
    np.testing.assert_array_equal(inputs[stays], features.inputs[stays])


def test_where_an_item_moves_depends_on_epoch_and_index_alone(
    radio_map: RadioMap, features: FeatureSet
) -> None:
    together = apply(radio_map, features, [(4, i) for i in range(10)])
    alone = apply(radio_map, features, [(4, 7)])
    np.testing.assert_array_equal(together[0][7:8], alone[0])
    assert not np.array_equal(alone[1], apply(radio_map, features, [(5, 7)])[1])
