from dataclasses import replace

import numpy as np
import pytest

from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import JobStopped
from heimdall_core.evaluation.ablation import MAX_SESSIONS, remove_receivers
from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.evaluation.report import build_report
from heimdall_core.features.feature_set import FeatureSet


@pytest.fixture
def heard(features: FeatureSet) -> FeatureSet:
    """Two segments a session, (R, 1, 1): the presence of each receiver."""
    presence = (~np.isnan(features.snr_db)).astype(np.float32)[:, :, None, None]
    return replace(
        features, inputs=np.repeat(presence, 2, axis=0), first_segment=np.arange(0, 601, 2).astype(np.int64)
    )


def truth_of(features: FeatureSet):
    return features.positions_deg[features.indices("test")]


class Shifting:
    """A model that is right, but for 0.1 degrees north if the second receiver is absent."""

    def __init__(self, features: FeatureSet) -> None:
        self.num_segments = 0
        self.full = self.of(
            truth_of(features), features.inputs[features.first_segment[features.indices("test")]]
        )

    def of(self, places, inputs) -> Predictions:
        shift = 0.1 * (inputs[:, 1, 0, 0] == 0.0)
        return Predictions.of(places + np.stack([shift, 0 * shift], axis=1), np.full(places.shape, 3_000.0))

    def __call__(self, inputs, first) -> Predictions:
        """The mean latitude does for every session: only the shift counts."""
        self.num_segments += len(inputs)
        return self.of(np.tile([45.0, 8.0], (len(first) - 1, 1)), inputs[first[:-1]])


def test_a_receiver_is_removed_from_every_segment_of_those_that_it_heard_and_no_other_plane_changes(heard):
    seen = []

    def predict(inputs, first) -> Predictions:
        seen.append((inputs.copy(), first))
        return Predictions.of(np.tile([45.0, 8.0], (len(first) - 1, 1)), np.ones((len(first) - 1, 2)))

    places = heard.indices("test")
    remove_receivers(heard, places, Shifting(heard).full, predict)
    presence = ~np.isnan(heard.snr_db[places])
    several = presence.sum(axis=1) > 1
    assert sum(len(first) - 1 for _, first in seen) == presence[several].sum()
    assert all(np.array_equal(np.diff(first), np.full(len(first) - 1, 2)) for _, first in seen)
    planes_left = sum(inputs.sum() for inputs, _ in seen)
    assert planes_left == 2 * (presence[several].sum(axis=1) * (presence[several].sum(axis=1) - 1)).sum()


def test_the_receiver_that_matters_is_told_by_its_change(heard, manifest: Manifest, tmp_path):
    model = Shifting(heard)
    places = heard.indices("test")

    def predict(inputs, first) -> Predictions:
        shift = 0.1 * (inputs[first[:-1], 1, 0, 0] == 0.0)
        rows = model.places_of(inputs, first)
        return Predictions.of(rows + np.stack([shift, 0 * shift], axis=1), np.full(rows.shape, 3_000.0))

    order = iter(expected_order(heard, places))
    model.places_of = lambda _inputs, first: np.stack([next(order) for _ in range(len(first) - 1)])
    ablation = remove_receivers(heard, places, model.full, predict)
    report = build_report(feature_set=heard, manifest=manifest, predictions=model.full, ablation=ablation)
    removed = {r.receiver: r for r in report.receivers_removed}
    share = (~np.isnan(heard.snr_db[places, 1])).mean()
    assert removed["R1"].change["mean_error_m"] == pytest.approx(11_113 * share, rel=0.03)
    low, high = removed["R1"].mean_error_change_95_m
    assert 0 < low < removed["R1"].change["mean_error_m"] < high
    assert removed["R0"].change == pytest.approx(dict.fromkeys(removed["R0"].change, 0.0), abs=1e-6)
    assert removed["R1"].num_heard == (~np.isnan(heard.snr_db[places, 1])).sum()
    names = [path.name for path in report.write(tmp_path)]
    assert "receivers.png" in names


def expected_order(features, places):
    """True places of the predictions in the order in which they are asked for: by part, then by receiver."""
    presence = ~np.isnan(features.snr_db[places])
    for start in range(0, len(places), 32):
        for receiver in range(features.num_receivers):
            for i in range(start, min(start + 32, len(places))):
                if presence[i, receiver] and presence[i].sum() > 1:
                    yield features.positions_deg[places[i]]


def test_a_session_that_nobody_else_heard_is_left_out_for_its_receiver(heard, manifest: Manifest):
    snr = heard.snr_db.copy()
    lonely = heard.indices("test")[:10]
    snr[lonely] = [np.nan, np.nan, 20.0, np.nan]
    features = replace(heard, snr_db=snr)
    model = Shifting(features)
    ablation = remove_receivers(features, features.indices("test"), model.full, model)
    report = build_report(feature_set=features, manifest=manifest, predictions=model.full, ablation=ablation)
    assert report.receivers_removed[2].num_sessions <= 90
    assert report.receivers_removed[0].num_sessions > 90


def test_the_only_receiver_cannot_be_removed(heard, manifest: Manifest, tmp_path):
    snr = np.where(np.arange(4) == 2, heard.snr_db, np.nan)
    features = replace(heard, snr_db=snr)
    model = Shifting(features)
    ablation = remove_receivers(features, features.indices("test"), model.full, model)
    report = build_report(feature_set=features, manifest=manifest, predictions=model.full, ablation=ablation)
    assert report.receivers_removed[2].metrics is None
    assert model.num_segments == 0


def test_the_cost_is_bounded_and_the_sample_fixed():
    many, receivers = 5000, 25
    features = FeatureSet(
        inputs=np.ones((many, receivers, 1, 1), np.float32),
        first_segment=np.arange(many + 1),
        targets_km=np.zeros((many, 2), np.float32),
        positions_deg=np.zeros((many, 2)),
        snr_db=np.ones((many, receivers), np.float32),
        session_ids=tuple(map(str, range(many))),
        splits=("test",) * many,
        was_cached=False,
    )
    full = Predictions.of(np.zeros((many, 2)), np.ones((many, 2)))
    count = 0

    def predict(inputs, first) -> Predictions:
        nonlocal count
        count += len(inputs)
        return full.take(slice(len(first) - 1))

    one, other = (remove_receivers(features, np.arange(many), full, predict) for _ in range(2))
    assert len(one.chosen) == MAX_SESSIONS
    assert np.array_equal(one.chosen, other.chosen)
    assert count == 2 * MAX_SESSIONS * receivers


def test_a_stop_is_honoured_between_two_predictions(heard):
    model = Shifting(heard)

    def stop(fraction: float) -> None:
        if fraction > 0.3:
            raise JobStopped("cancel")

    with pytest.raises(JobStopped):
        remove_receivers(heard, heard.indices("test"), model.full, model, stop)
    assert 0 < model.num_segments < 0.6 * 2 * 4 * 100
