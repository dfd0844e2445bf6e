"""Two models on the same sessions: who is better, and how sure that is."""

import numpy as np
import pytest

from heimdall_core.evaluation.metrics import Predictions, nll_per_m2
from heimdall_core.registry import bootstrap
from heimdall_core.registry.bootstrap import compare_paired
from heimdall_core.registry.session_errors import SessionErrors, pair_sessions, parse_session_errors


def errors(values, *, nll=None, ids=None, fitted=None):
    values = np.asarray(values, np.float64)
    return SessionErrors(
        session_ids=tuple(ids or (f"s{i:04}" for i in range(len(values)))),
        error_m=values,
        nll_per_m2=values / 100.0 if nll is None else np.asarray(nll, np.float64),
        was_fitted=np.zeros(len(values), bool) if fitted is None else np.asarray(fitted),
    )


def row(session_id, **changes):
    return {
        "session_id": session_id,
        "split": "test",
        "trained_on": False,
        "error_m": 100.0,
        "sigma_east_m": 80.0,
        "sigma_north_m": 60.0,
        "correlation": 0.3,
        "squared_mahalanobis": 1.7,
    } | changes


def test_nothing_and_different_sessions_cannot_be_compared():
    with pytest.raises(ValueError, match="same sessions"):
        compare_paired(errors([]), errors([]))
    with pytest.raises(ValueError, match="same sessions"):
        compare_paired(errors([1.0]), errors([1.0], ids=["other"]))


def test_differences_are_of_the_second_less_the_first():
    found = {d.metric: d for d in compare_paired(errors([10, 20, 60]), errors([11, 22, 30]))}
    assert list(found) == ["median_error_m", "mean_error_m", "nll_per_m2"]
    assert (found["median_error_m"].first, found["median_error_m"].second) == (20.0, 22.0)
    assert found["median_error_m"].difference == 2.0
    assert found["mean_error_m"].difference == pytest.approx(21.0 - 30.0)
    assert found["nll_per_m2"].difference == pytest.approx(0.21 - 0.30)
    assert all(d.low <= d.difference <= d.high for d in found.values())


def test_the_same_sessions_give_the_same_intervals_in_any_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    one, other = errors(rng.exponential(1000, 50)), errors(rng.exponential(1000, 50))
    assert compare_paired(one, other) == compare_paired(one, other)
    whole = compare_paired(one, other)
    monkeypatch.setattr(bootstrap, "_CHUNK_NUMBERS", 50 * 7)
    assert compare_paired(one, other) == whole


def test_a_model_is_no_better_than_itself():
    one = errors(np.random.default_rng(2).exponential(1000, 80))
    assert all((d.difference, d.low, d.high) == (0.0, 0.0, 0.0) for d in compare_paired(one, one))


def test_pairs_find_a_small_difference_that_sessions_differ_far_more_than():
    base = np.random.default_rng(3).exponential(10_000, 400)
    found = {d.metric: d for d in compare_paired(errors(base), errors(base * 0.97))}
    assert found["mean_error_m"].high < 0.0
    assert found["median_error_m"].high < 0.0


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(60):
        base = rng.normal(1000, 300, 60)
        found = compare_paired(errors(base), errors(base + rng.normal(20, 100, 60)))[1]
        held += found.low <= 20.0 <= found.high
    assert 51 <= held <= 60


def test_only_sessions_new_to_both_are_paired_in_one_order():
    first = errors([1, 2, 3, 4], ids=["a", "b", "c", "d"], fitted=[False, True, False, False])
    second = errors([40, 30, 20, 50], ids=["d", "c", "b", "e"], fitted=[True, False, False, False])
    one, other = pair_sessions(first, second)
    assert one.session_ids == other.session_ids == ("c",)
    assert (one.error_m.tolist(), other.error_m.tolist()) == ([3.0], [30.0])
    assert pair_sessions(first, errors([1.0], ids=["z"]))[0].session_ids == ()


def test_a_file_of_residuals_gives_its_test_sessions_by_id():
    document = {
        "sessions": [
            row("b", error_m=7.0, trained_on=True),
            row("c", split="val"),
            row("a", trained_on=None),
        ]
    }
    found = parse_session_errors(document)
    assert found.session_ids == ("a", "b")
    assert found.error_m.tolist() == [100.0, 7.0]
    assert found.was_fitted.tolist() == [False, True]


def test_the_likelihood_is_that_of_the_report():
    document = {"sessions": [row("a"), row("b", correlation=-0.8, sigma_east_m=1e5)]}
    predictions = Predictions.of(
        np.zeros((2, 2)), np.array([[80.0, 60.0], [1e5, 60.0]]), np.array([0.3, -0.8])
    )
    expected = nll_per_m2(predictions, np.array([1.7, 1.7]))
    assert parse_session_errors(document).nll_per_m2 == pytest.approx(expected)


def test_what_was_rounded_away_gives_finite_likelihoods():
    document = {"sessions": [row("a", correlation=1.0, sigma_east_m=0.0)]}
    assert np.isfinite(parse_session_errors(document).nll_per_m2).all()
