import json
from dataclasses import replace

import numpy as np
import pytest

from heimdall_core.evaluation.baselines import LevelData
from heimdall_core.evaluation.grid import predict_log_distance_grid
from heimdall_core.evaluation.metrics import CHI_SQUARED_2
from heimdall_core.evaluation.residuals import find_residuals
from heimdall_core.evaluation.suspects import compare_with_neighbours, judge_labels, limit_of
from heimdall_core.recordings.geodesy import to_plane_km

SPLITS = ("train", "val", "test")


def receivers_of(manifest):
    places = [r.latitude for r in manifest.receivers], [r.longitude for r in manifest.receivers]
    return np.stack(
        to_plane_km(*places, origin=(manifest.origin_latitude, manifest.origin_longitude)), axis=1
    )


def residuals_of(features, manifest, trained_on=None):
    """By a law of path loss that is fitted to the train split, wrong labels included."""
    origin = (manifest.origin_latitude, manifest.origin_longitude)
    data = LevelData.of(features, receivers_of(manifest), origin)
    return find_residuals(
        feature_set=features,
        predictions={
            split: predict_log_distance_grid(
                data.snr_db,
                data.targets_km,
                data.receivers_km,
                origin,
                train=features.indices("train"),
                test=features.indices(split),
            )
            for split in SPLITS
        },
        origin=origin,
        trained_on=trained_on or [s == "train" for s in features.splits],
    )


def swapped(features, pairs):
    positions, targets = features.positions_deg.copy(), features.targets_km.copy()
    for one, other in pairs:
        positions[[one, other]] = positions[[other, one]]
        targets[[one, other]] = targets[[other, one]]
    return replace(features, positions_deg=positions, targets_km=targets)


def far_pairs(features):
    """One pair of sessions in each split that lie at least 80 km apart and are heard by all."""
    heard = (~np.isnan(features.snr_db)).all(axis=1)
    pairs = []
    for split in SPLITS:
        places = [i for i in features.indices(split) if heard[i]]
        targets = features.targets_km[places]
        distance = np.linalg.norm(targets[:, None] - targets, axis=2)
        pairs.append(tuple(places[i] for i in np.unravel_index(distance.argmax(), distance.shape)))
    return pairs


def test_swapped_labels_are_ranked_first_in_every_split(features, manifest):
    pairs = far_pairs(features)
    residuals = residuals_of(swapped(features, pairs), manifest)
    suspects = residuals.suspects()
    wrong = {features.session_ids[i] for pair in pairs for i in pair}
    assert {residuals.session_ids[s.place] for s in suspects[: len(wrong)]} == wrong
    assert all("model" in s.evidence for s in suspects[: len(wrong)])


def test_hardly_a_right_label_is_suspected(features, manifest):
    assert len(residuals_of(features, manifest).suspects()) <= len(features) // 100


def test_a_label_that_the_network_has_learnt_is_found_by_its_neighbours():
    rng = np.random.default_rng(0)
    model, neighbours = rng.chisquare(2, 1000) * 0.3, rng.chisquare(2, 1000)
    model[7], neighbours[7] = 4.0, 90.0  # nearly fitted: 0.14 of its limit
    neighbours[8], model[8] = 90.0, 0.01  # unlike its neighbours, and the network agrees with it
    by_model, by_neighbours, improbability = judge_labels(model, neighbours)
    assert not by_model[7]
    assert np.flatnonzero(by_neighbours).tolist() == [7]
    assert improbability.argmax() == 7


def test_the_limit_is_what_one_right_label_in_ten_thousand_exceeds():
    squared = np.random.default_rng(0).chisquare(2, 400_000)
    assert np.mean(squared > limit_of(squared)) == pytest.approx(1e-4, rel=0.3)


def test_heavy_tails_raise_the_limit_and_sharp_splits_do_not_lower_it():
    gaussian = np.random.default_rng(0).chisquare(2, 10_000)
    assert limit_of(3.0 * gaussian) == pytest.approx(3.0 * limit_of(gaussian), rel=0.05)
    assert limit_of(0.1 * gaussian) == pytest.approx(4 * CHI_SQUARED_2[90])
    assert limit_of(np.array([500.0])) == pytest.approx(4 * CHI_SQUARED_2[90])


def test_a_session_is_no_neighbour_of_its_own():
    snr = np.repeat(np.arange(20.0)[:, None], 2, axis=1)
    positions = np.zeros((20, 2))
    positions[3] = [30.0, 40.0]
    found = compare_with_neighbours(snr, positions, np.array([3, 4]))
    assert found.distance_m.tolist() == pytest.approx([50_000.0, 0.0])


def test_too_few_sessions_are_compared_with_nobody(features):
    few = np.array([0, 1, 2])
    found = compare_with_neighbours(
        features.snr_db[:4].astype(float), features.targets_km[:4].astype(float), few
    )
    assert np.isnan(found.distance_m).all()


def test_the_file_has_a_line_for_every_session_and_says_how_to_read_it(features, manifest, tmp_path):
    silent = replace(features, snr_db=np.where(np.arange(300)[:, None] == 299, np.nan, features.snr_db))
    residuals = residuals_of(swapped(silent, far_pairs(silent)), manifest)
    path = residuals.write(tmp_path / "residuals.json")
    found = json.loads(path.read_bytes())
    assert [row["session_id"] for row in found["sessions"]] == list(residuals.session_ids)
    assert {s: v["num_sessions"] for s, v in found["splits"].items()} == {
        "train": 150,
        "val": 50,
        "test": 100,
    }
    assert found["sessions"][-1]["mean_snr_db"] is None
    assert found["sessions"][-1]["receivers_heard"] == 0
    first, suspect = found["sessions"][0], found["suspects"][0]
    assert first["error_m"] == pytest.approx(residuals.error_m[0], abs=0.1)
    assert first["trained_on"] is True
    assert suspect["p_value"] < 1e-4
    assert suspect.keys() - first.keys() == {"improbability", "evidence"}
    assert found["reading"].keys() <= first.keys() | {"suspects"}
    assert len(path.read_text().splitlines()) > len(found["sessions"])
