"""``sessions.json`` holds what a page needs to draw the evaluation, and nothing that does not fit together."""

import json
from dataclasses import replace

import numpy as np
import pytest

from heimdall_core.domain.manifest import ManifestSession
from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.evaluation.report import build_report
from heimdall_core.evaluation.residuals import find_residuals
from tests.unit.evaluation.conftest import ORIGIN, RECEIVERS_KM


@pytest.fixture(scope="module")
def predictions(features):
    places = features.positions_deg[features.indices("test")]
    shift = np.random.default_rng(1).normal(0.0, 0.05, places.shape)
    return Predictions.of(places + shift, np.full(places.shape, 5_000.0), np.full(len(places), 0.3))


@pytest.fixture(scope="module")
def report(features, manifest, predictions):
    known = replace(manifest, sessions=(transmission("s200", "Aosta"),))
    residuals = find_residuals(
        feature_set=features,
        predictions={"test": predictions},
        origin=ORIGIN,
        trained_on=[name == "s201" for name in features.session_ids],
    )
    return build_report(feature_set=features, manifest=known, predictions=predictions, residuals=residuals)


@pytest.fixture(scope="module")
def table(report, tmp_path_factory):
    return written(report, tmp_path_factory.mktemp("report"))


def written(report, folder):
    paths = report.write(folder)
    return json.loads(next(path for path in paths if path.name == "sessions.json").read_bytes())


def transmission(session_id, source):
    return ManifestSession(
        id=session_id,
        source=source,
        latitude=ORIGIN[0],
        longitude=ORIGIN[1],
        frequency_hz=1e8,
        started_at="2026-01-01T00:00:00Z",
        split="test",
        block="b",
        recordings=(),
    )


def test_every_column_has_a_value_for_every_session(table, features):
    lengths = {len(column) for column in [*table["sessions"].values(), *table["errors_m"].values()]}
    assert lengths == {table["num_sessions"]} == {100}
    assert table["sessions"]["session_id"] == [features.session_ids[i] for i in features.indices("test")]


def test_metrics_and_coverage_can_be_found_again_from_the_columns(table, report):
    errors = {name: np.median(values) for name, values in table["errors_m"].items()}
    assert errors.pop("model") == pytest.approx(report.metrics["median_error_m"], rel=1e-5)
    assert errors == pytest.approx({n: m["median_error_m"] for n, m in report.baselines.items()}, rel=1e-5)
    inside = np.array(table["sessions"]["squared_mahalanobis"]) <= 2.278869
    assert inside.mean() == pytest.approx(report.metrics["coverage_68"])


def test_the_plane_is_that_of_the_dataset_for_sessions_and_receivers(table, features):
    columns = table["sessions"]
    true_km = np.stack([columns["east_km"], columns["north_km"]], axis=1)
    assert true_km == pytest.approx(features.targets_km[features.indices("test")], abs=1e-3)
    assert table["origin"] == {"latitude": ORIGIN[0], "longitude": ORIGIN[1]}
    places = np.array([(one["east_km"], one["north_km"]) for one in table["receivers"]])
    assert places == pytest.approx(RECEIVERS_KM, abs=1e-3)
    assert [one["name"] for one in table["receivers"]] == ["R0", "R1", "R2", "R3"]


def test_a_silent_receiver_and_an_unknown_source_are_null(table, features):
    silent = np.isnan(features.snr_db[features.indices("test")])
    assert [[value is None for value in row] for row in table["sessions"]["snr_db"]] == silent.tolist()
    assert table["sessions"]["source"] == ["Aosta"] + [None] * 99


def test_sessions_that_the_network_was_fitted_to_are_told(table, features, manifest, predictions, tmp_path):
    assert table["sessions"]["trained_on"] == [False, True] + [False] * 98
    bare = build_report(feature_set=features, manifest=manifest, predictions=predictions)
    assert written(bare, tmp_path)["sessions"]["trained_on"] == [None] * 100
