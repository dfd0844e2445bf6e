"""A version becomes the champion only if it is verified, measured alike, no worse, and honest."""

import math

import pytest

from heimdall_core.registry.gate import Contest, is_verified, judge
from heimdall_core.settings import PromotionSettings

FIGURES = {"median_error_m": 1000.0, "nll_per_m2": 17.0}
EVALUATE = {"kind": "evaluate"}


def contest(num_sessions=100, *, champion=FIGURES, **challenger):
    return Contest(
        dataset_name="northwest",
        dataset_version=2,
        dataset_digest="d",
        num_sessions=num_sessions,
        challenger=FIGURES | challenger,
        champion=champion,
    )


def verdict(
    met=None,
    *,
    verified=True,
    coverage=0.68,
    num_sessions=100,
    champion=1,
    evaluate=(),
    is_elsewhere=False,
    must_be_better=False,
    **policy,
):
    return judge(
        verified=verified,
        coverage=coverage,
        num_sessions=num_sessions,
        champion_version=champion,
        contest=met,
        evaluate=evaluate,
        is_elsewhere=is_elsewhere,
        must_be_better=must_be_better,
        policy=PromotionSettings(**policy),
    )


def failures(found):
    return [check.name for check in found.failures]


@pytest.mark.parametrize(
    ("verification", "exports", "verified"),
    [
        (None, [], False),
        ({}, [], False),
        ({"passed": False}, [], False),
        ({"passed": "yes"}, [], False),
        ({"passed": True}, [], True),
        ({"passed": True}, [{"verification": {"passed": True}}], True),
        ({"passed": True}, [{"verification": {"passed": True}}, {"verification": {"passed": False}}], False),
        ({"passed": True}, [{"name": "model.onnx"}], False),
    ],
)
def test_one_file_that_was_not_verified_makes_a_version_unverified(verification, exports, verified):
    assert is_verified(verification, exports) is verified


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"verified": False}, ["verified"]),
        ({"coverage": 0.3}, ["coverage_68"]),
        ({"coverage": 0.99}, ["coverage_68"]),
        ({"coverage": None}, ["coverage_68"]),
        ({"coverage": math.nan}, ["coverage_68"]),
        ({}, []),
    ],
)
def test_a_first_version_must_be_verified_and_know_its_uncertainty(change, failed):
    assert failures(verdict(champion=None, **change)) == failed


@pytest.mark.parametrize(
    ("challenger", "failed"),
    [
        ({"median_error_m": 1000.1}, ["median_error_m"]),
        ({"median_error_m": 1000.0}, []),
        ({"median_error_m": 900.0}, []),
        ({"nll_per_m2": 17.06}, ["nll_per_m2"]),
        ({"nll_per_m2": 17.04}, []),
        ({"median_error_m": 1100.0, "nll_per_m2": 18.0}, ["median_error_m", "nll_per_m2"]),
        ({"median_error_m": None}, ["median_error_m"]),
        ({"median_error_m": math.inf}, ["median_error_m"]),
        ({"nll_per_m2": math.nan}, ["nll_per_m2"]),
    ],
)
def test_a_challenger_may_be_no_worse_than_the_margins_allow(challenger, failed):
    assert failures(verdict(contest(**challenger))) == failed


def test_margins_are_those_of_the_settings():
    worse = contest(median_error_m=1019.0, nll_per_m2=17.4)
    assert failures(verdict(worse)) == ["median_error_m", "nll_per_m2"]
    assert verdict(worse, max_median_error_increase=0.02, max_nll_increase=0.5).passed
    limits = {c.name: c.limit for c in verdict(worse, max_median_error_increase=0.02).checks}
    assert limits["median_error_m"] == pytest.approx(1020.0)


@pytest.mark.parametrize("number", [None, math.nan, math.inf])
def test_a_champion_without_a_number_is_not_taken_for_beaten(number):
    assert failures(verdict(contest(champion=FIGURES | {"median_error_m": number}))) == ["median_error_m"]
    assert failures(verdict(contest(champion=FIGURES | {"nll_per_m2": number}))) == ["nll_per_m2"]


def test_few_common_sessions_decide_nothing():
    found = verdict(contest(9, median_error_m=1.0))
    assert failures(found) == ["same_test_split"]
    assert "only 9 test sessions" in found.failures[0].detail
    assert not found.lacks_measurement, "waiting would not help"
    assert verdict(contest(10)).passed
    assert failures(verdict(contest(10), min_sessions=11)) == ["same_test_split"]


def test_a_model_of_another_dataset_is_no_challenger_unless_somebody_wants_the_contest():
    found = verdict(None, evaluate=[EVALUATE], is_elsewhere=True)
    assert failures(found)[0] == "same_test_split"
    assert "another dataset" in found.failures[0].detail
    assert not found.lacks_measurement, "no job is queued for it unasked"
    assert found.to_dict()["evaluate"] == [EVALUATE]
    assert verdict(contest(), is_elsewhere=True).passed


def test_a_range_of_coverage_that_nothing_meets_is_refused():
    with pytest.raises(ValueError, match="min_coverage_68 is above max_coverage_68"):
        PromotionSettings(min_coverage_68=0.8, max_coverage_68=0.6)


def test_numbers_that_differ_are_told_apart():
    found = verdict(contest(median_error_m=1000.04, nll_per_m2=17.05001))
    details = {check.name: check.detail for check in found.failures}
    assert details["median_error_m"] == "1,000.04 m against 1,000.00 m of version 1; at most 1,000.00 m"
    assert details["nll_per_m2"] == "17.05001 against 17.00000 of version 1; at most 17.05000"


def test_other_test_sessions_are_no_comparison():
    found = verdict(None, evaluate=[EVALUATE])
    assert failures(found) == ["same_test_split", "median_error_m", "nll_per_m2"]
    assert found.lacks_measurement
    assert found.to_dict()["evaluate"] == [EVALUATE]
    assert found.to_dict()["dataset"] is None
    assert not verdict(None, evaluate=[EVALUATE], coverage=0.1).lacks_measurement, "waiting would not help"
    assert not verdict(None).lacks_measurement, "nothing to wait for"


def test_sessions_that_one_was_fitted_to_are_no_comparison():
    found = verdict(contest(0, champion={}))
    assert failures(found)[0] == "same_test_split"
    assert not found.lacks_measurement


def test_few_sessions_may_miss_the_range_by_chance():
    assert failures(verdict(champion=None, coverage=0.3, num_sessions=400)) == ["coverage_68"]
    assert failures(verdict(champion=None, coverage=0.3, num_sessions=None)) == ["coverage_68"]
    assert verdict(champion=None, coverage=0.3, num_sessions=10).passed
    assert verdict(champion=None, coverage=1.0, num_sessions=10).passed
    strict = {"min_coverage_68": 0.65, "max_coverage_68": 0.71}
    assert failures(verdict(champion=None, coverage=0.6, num_sessions=10_000, **strict)) == ["coverage_68"]


def test_a_verdict_names_every_check_with_its_numbers():
    told = verdict(contest(median_error_m=1200.0)).to_dict()
    assert not told["passed"]
    assert told["champion_version"] == 1
    assert told["dataset"] == {"name": "northwest", "version": 2, "digest": "d"}
    assert told["num_sessions"] == 100
    checks = {check["name"]: check for check in told["checks"]}
    assert set(checks) == {"verified", "same_test_split", "median_error_m", "nll_per_m2", "coverage_68"}
    median = checks["median_error_m"]
    assert (median["challenger"], median["champion"], median["limit"]) == (1200.0, 1000.0, 1000.0)
    assert median["detail"] == "1,200 m against 1,000 m of version 1; at most 1,000 m"


@pytest.mark.parametrize(
    ("figures", "is_better"),
    [
        ({}, False),
        ({"median_error_m": 1000.0 * (1 - 1e-9), "nll_per_m2": 17.0 * (1 + 1e-9)}, False),
        ({"median_error_m": 999.0}, True),
        ({"median_error_m": 999.0, "nll_per_m2": 17.04}, True),
        ({"nll_per_m2": 16.99}, True),
        ({"nll_per_m2": 17.04}, False),
        ({"nll_per_m2": None}, False),
    ],
)
def test_no_worse_is_not_yet_better(figures, is_better):
    found = verdict(contest(**figures), must_be_better=True)
    assert ("better" not in failures(found)) == is_better
    assert "better" not in [check.name for check in verdict(contest(**figures)).checks]


def test_a_negative_loss_is_better_where_it_is_farther_below():
    champion = FIGURES | {"nll_per_m2": -2.0}
    assert verdict(contest(champion=champion, nll_per_m2=-2.1), must_be_better=True).passed
    assert failures(verdict(contest(champion=champion, nll_per_m2=-2.0), must_be_better=True)) == ["better"]


def test_a_first_version_need_not_be_better_and_an_unmeasured_one_waits():
    assert verdict(champion=None, must_be_better=True).passed
    assert verdict(None, evaluate=[EVALUATE], must_be_better=True).lacks_measurement
