import itertools
import json

import numpy as np
import pytest

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest, ManifestReceiver
from heimdall_core.evaluation.metrics import Predictions, evaluate
from heimdall_core.evaluation.report import build_report
from heimdall_core.features import FeatureSet
from heimdall_core.recordings.geodesy import to_degrees

ORIGIN = (44.95, 8.10)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def manifest() -> Manifest:
    places = [("Torino", 45.04, 7.67), ("Milano", 45.48, 9.12), ("Genova", 44.40, 8.96)]
    receivers = tuple(
        ManifestReceiver(name=n, latitude=lat, longitude=lon, altitude_m=200.0) for n, lat, lon in places
    )
    return Manifest(
        name="north",
        version=1,
        origin_latitude=ORIGIN[0],
        origin_longitude=ORIGIN[1],
        receivers=receivers,
        sessions=(),
    )


@pytest.fixture
def features() -> FeatureSet:
    """90 sessions, a third in each split; each seventh session is heard by nobody."""
    rng = np.random.default_rng(0)
    targets = rng.uniform(-40.0, 40.0, (90, 2))
    snr = rng.uniform(0.0, 40.0, (90, 3))
    snr[rng.random((90, 3)) < 0.3] = np.nan
    snr[::7] = np.nan
    return FeatureSet(
        inputs=np.zeros((90, 3, 128, 32), np.float32),
        first_segment=np.arange(91),
        targets_km=targets.astype(np.float32),
        positions_deg=np.stack(to_degrees(*targets.T, origin=ORIGIN), axis=1),
        snr_db=snr.astype(np.float32),
        session_ids=tuple(f"ses_{i}" for i in range(90)),
        splits=("train", "val", "test") * 30,
        was_cached=True,
    )


@pytest.fixture
def predictions(features) -> Predictions:
    places = features.positions_deg[features.indices("test")]
    shift = np.random.default_rng(1).normal(0.0, 0.05, places.shape)
    return Predictions.of(places + shift, np.full(places.shape, 5_000.0), np.full(len(places), 0.3))


def test_an_empty_split_is_refused(features, manifest, predictions):
    test_only = FeatureSet(
        **{n: getattr(features, n) for n in features.__slots__} | {"splits": ("test",) * 90}
    )
    with pytest.raises(DataError, match="train split") as caught:
        build_report(feature_set=test_only, manifest=manifest, predictions=predictions)
    assert caught.value.stable_code == "empty_split"


def test_predictions_of_another_split_are_refused(features, manifest, predictions):
    with pytest.raises(ValueError, match="29 predictions"):
        build_report(feature_set=features, manifest=manifest, predictions=predictions.take(slice(29)))


def test_the_metrics_are_those_of_evaluate(features, manifest, predictions):
    report = build_report(feature_set=features, manifest=manifest, predictions=predictions)
    truth = features.positions_deg[features.indices("test")]
    assert report.metrics == evaluate(predictions, truth[:, 0], truth[:, 1], ORIGIN)


def test_every_baseline_is_evaluated_on_the_same_sessions(features, manifest, predictions):
    report = build_report(feature_set=features, manifest=manifest, predictions=predictions)
    assert list(report.baselines) == ["train_mean", "weighted_centroid", "knn", "log_distance_grid"]
    assert all(metrics.keys() == report.metrics.keys() for metrics in report.baselines.values())
    assert {len(errors) for errors in report.errors_m.values()} == {30}


def test_without_a_val_split_the_covariance_comes_from_the_train_split(features, manifest, predictions):
    splits = tuple("train" if s == "val" else s for s in features.splits)
    without = FeatureSet(**{n: getattr(features, n) for n in features.__slots__} | {"splits": splits})
    report = build_report(feature_set=without, manifest=manifest, predictions=predictions)
    assert np.isfinite(report.baselines["knn"]["nll_per_m2"])


def test_breakdowns_by_receivers_heard_cover_every_session(features, manifest, predictions):
    groups = build_report(feature_set=features, manifest=manifest, predictions=predictions).receivers_heard
    heard = (~np.isnan(features.snr_db[features.indices("test")])).sum(axis=1)
    assert [(g.low, g.num_sessions) for g in groups] == [
        (float(k), int((heard == k).sum())) for k in np.unique(heard)
    ]


def test_breakdowns_by_snr_ascend_and_leave_silence_out(features, manifest, predictions):
    groups = build_report(feature_set=features, manifest=manifest, predictions=predictions).snr
    audible = (~np.isnan(features.snr_db[features.indices("test")])).any(axis=1).sum()
    assert sum(g.num_sessions for g in groups) == audible
    assert all(a.high <= b.low for a, b in itertools.pairwise(groups))


def test_the_report_is_plain_json_and_three_pictures(features, manifest, predictions, tmp_path):
    report = build_report(feature_set=features, manifest=manifest, predictions=predictions)
    paths = report.write(tmp_path / "report")
    names = ["report.json", "map.png", "error_cdf.png", "calibration.png", "sessions.json"]
    assert [p.name for p in paths] == names
    assert json.loads(paths[0].read_bytes()) == json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert all(p.read_bytes().startswith(PNG) and p.stat().st_size > 10_000 for p in paths[1:4])


def test_a_single_test_session_can_be_reported(features, manifest, predictions, tmp_path):
    splits = tuple("test" if i == 2 else "train" for i in range(90))
    single = FeatureSet(**{n: getattr(features, n) for n in features.__slots__} | {"splits": splits})
    report = build_report(feature_set=single, manifest=manifest, predictions=predictions.take(slice(1)))
    assert report.num_sessions == 1
    assert len(report.write(tmp_path)) == 5
