"""Whether a model version may become the champion: a verdict, check by check. Pure: no database."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from heimdall_core.settings import PromotionSettings

CheckName = Literal["verified", "same_test_split", "median_error_m", "nll_per_m2", "coverage_68", "better"]
MEDIAN_ERROR: Final = "median_error_m"
NLL: Final = "nll_per_m2"
COVERAGE: Final = "coverage_68"
BETTER: Final = "better"
_ROUNDING = 1e-5
"""By which share two numbers may differ though the same network was measured twice."""
_NOT_COMPARED = "not compared: they were not measured on the same sessions"
_CHANCE_DEVIATIONS = 2.0
"""How many standard deviations of a share of few sessions are taken for chance."""
_MOST_DECIMALS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What two versions make of the same sessions of a dataset version's test split."""

    dataset_name: str
    dataset_version: int
    dataset_digest: str
    num_sessions: int | None
    """That both were measured on and neither was fitted to; None: not known."""
    challenger: Mapping[str, float | None]
    champion: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of the gate."""

    name: CheckName
    passed: bool
    detail: str
    challenger: float | None = None
    champion: float | None = None
    limit: float | None = None
    """What the challenger's value may be at most; of the coverage see ``detail``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says."""

    checks: tuple[Check, ...]
    champion_version: int | None
    """The champion that the challenger was measured against; None: there was none."""
    contest: Contest | None
    evaluate: tuple[Mapping[str, Any], ...] = ()
    """Bodies for ``POST /v1/jobs`` that make the two comparable."""
    is_elsewhere: bool = False
    """Whether the two were trained on datasets of different names: then somebody must want the contest."""

    @property
    def passed(self) -> bool:
        """Whether every check is."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that are not passed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def is_measured(self) -> bool:
        """Whether the two met on the same sessions, or there is no champion to meet."""
        return all(check.passed for check in self.checks if check.name == "same_test_split")

    @property
    def lacks_measurement(self) -> bool:
        """Whether nothing is in the way but that a job has not measured yet."""
        unmeasured = {"same_test_split", MEDIAN_ERROR, NLL, BETTER}
        return (
            self.contest is None
            and not self.is_elsewhere
            and bool(self.evaluate)
            and all(check.name in unmeasured for check in self.failures)
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        contest = self.contest
        return {
            "passed": self.passed,
            "champion_version": self.champion_version,
            "dataset": None
            if contest is None
            else {
                "name": contest.dataset_name,
                "version": contest.dataset_version,
                "digest": contest.dataset_digest,
            },
            "num_sessions": None if contest is None else contest.num_sessions,
            "checks": [asdict(check) for check in self.checks],
            "evaluate": [dict(body) for body in self.evaluate],
        }


def is_verified(verification: Mapping[str, Any] | None, exports: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether the served file, and every other file of the version, was verified."""
    stated = [verification or {}, *(export.get("verification") or {} for export in exports)]
    return all(one.get("passed") is True for one in stated)


def judge(
    *,
    verified: bool,
    coverage: float | None,
    num_sessions: int | None,
    champion_version: int | None,
    contest: Contest | None,
    evaluate: Sequence[Mapping[str, Any]] = (),
    is_elsewhere: bool = False,
    must_be_better: bool = False,
    policy: PromotionSettings,
) -> Verdict:
    """The gate.

    Args:
        verified: whether every exported file of the challenger was verified.
        coverage: its ``coverage_68`` on the test split of its own dataset version.
        num_sessions: of that split; None: not known, then nothing is put down to chance.
        champion_version: None: there is none, and nothing to be worse than.
        contest: both on the same sessions; None: there is no champion, or they were not measured so.
        evaluate: what would make them so.
        is_elsewhere: whether the two were trained on datasets of different names.
        must_be_better: whether no worse is not enough: nobody but the job itself asks.
        policy: margins and range.
    """
    checks = (
        _verified(verified),
        _same_split(champion_version, contest, policy, is_elsewhere=is_elsewhere),
        _not_worse(MEDIAN_ERROR, champion_version, contest, policy),
        _not_worse(NLL, champion_version, contest, policy),
        _covered(coverage, num_sessions, policy),
    )
    return Verdict(
        checks=(*checks, _better(champion_version, contest)) if must_be_better else checks,
        champion_version=champion_version,
        contest=contest,
        evaluate=tuple(evaluate),
        is_elsewhere=is_elsewhere,
    )


def _verified(verified: bool) -> Check:
    detail = "the exported files were verified" if verified else "the exported files were not verified"
    return Check(name="verified", passed=verified, detail=detail)


def _same_split(
    champion_version: int | None, contest: Contest | None, policy: PromotionSettings, *, is_elsewhere: bool
) -> Check:
    if champion_version is None:
        return Check(name="same_test_split", passed=True, detail="there is no champion to compare with")
    if contest is None:
        detail = f"it and version {champion_version} were not measured on the same test sessions"
        if is_elsewhere:
            detail = (
                f"it was trained on another dataset than version {champion_version}, "
                "which was not measured on the test split of that"
            )
        return Check(name="same_test_split", passed=False, detail=detail)
    num = "the" if contest.num_sessions is None else f"{contest.num_sessions:,}"
    where = f"{num} test sessions of {contest.dataset_name}/{contest.dataset_version}"
    if contest.num_sessions == 0:
        detail = (
            f"both were measured on {contest.dataset_name}/{contest.dataset_version}, on no common session"
        )
        detail += " that neither was fitted to"
        return Check(name="same_test_split", passed=False, detail=detail)
    if contest.num_sessions is not None and contest.num_sessions < policy.min_sessions:
        detail = f"only {where} are common and new to both; {policy.min_sessions} are needed"
        return Check(name="same_test_split", passed=False, detail=detail)
    return Check(name="same_test_split", passed=True, detail=f"both were measured on {where}")


def _not_worse(
    name: Literal["median_error_m", "nll_per_m2"],
    champion_version: int | None,
    contest: Contest | None,
    policy: PromotionSettings,
) -> Check:
    if champion_version is None:
        return Check(name=name, passed=True, detail="there is no champion to be worse than")
    if contest is None:
        return Check(name=name, passed=False, detail=_NOT_COMPARED)
    own, theirs = _finite(contest.challenger.get(name)), _finite(contest.champion.get(name))
    if own is None:
        return Check(name=name, passed=False, detail="the challenger has no such number", champion=theirs)
    if theirs is None:
        return Check(name=name, passed=False, detail="the champion has no such number", challenger=own)
    limit = _limit(name, theirs, policy)
    told_own, told_theirs, told_limit = _told_apart(name, own, theirs, limit)
    detail = f"{told_own} against {told_theirs} of version {champion_version}"
    return Check(
        name=name,
        passed=own <= limit,
        detail=f"{detail}; at most {told_limit}",
        challenger=own,
        champion=theirs,
        limit=limit,
    )


def _better(champion_version: int | None, contest: Contest | None) -> Check:
    if champion_version is None:
        return Check(name=BETTER, passed=True, detail="there is no champion to be better than")
    if contest is None:
        return Check(name=BETTER, passed=False, detail=_NOT_COMPARED)
    gains = [name for name in (MEDIAN_ERROR, NLL) if _is_below(name, contest)]
    found = f"{' and '.join(gains)} below" if gains else "neither median_error_m nor nll_per_m2 is below"
    return Check(name=BETTER, passed=bool(gains), detail=f"{found} version {champion_version}'s")


def _is_below(name: str, contest: Contest) -> bool:
    own, theirs = _finite(contest.challenger.get(name)), _finite(contest.champion.get(name))
    return own is not None and theirs is not None and own < theirs - _ROUNDING * abs(theirs)


def _limit(name: str, theirs: float, policy: PromotionSettings) -> float:
    if name == MEDIAN_ERROR:
        return theirs * (1.0 + policy.max_median_error_increase)
    return theirs + policy.max_nll_increase


def _told_apart(name: str, own: float, theirs: float, limit: float) -> tuple[str, str, str]:
    """Their texts, with as many decimals as it takes to see that own value and limit differ."""
    decimals = 0 if name == MEDIAN_ERROR else 3
    while own != limit and decimals < _MOST_DECIMALS and f"{own:.{decimals}f}" == f"{limit:.{decimals}f}":
        decimals += 1
    unit = " m" if name == MEDIAN_ERROR else ""
    first, second, third = (f"{value:z,.{decimals}f}{unit}" for value in (own, theirs, limit))
    return first, second, third


def _covered(coverage: float | None, num_sessions: int | None, policy: PromotionSettings) -> Check:
    share = _finite(coverage)
    if share is None:
        return Check(name=COVERAGE, passed=False, detail="the challenger has no such number")
    low = policy.min_coverage_68 - _chance(policy.min_coverage_68, num_sessions)
    high = policy.max_coverage_68 + _chance(policy.max_coverage_68, num_sessions)
    allowed = f"{max(low, 0.0):.2f} to {min(high, 1.0):.2f}"
    of = "" if num_sessions is None else f" for {num_sessions:,} sessions"
    return Check(
        name=COVERAGE,
        passed=low <= share <= high,
        detail=f"{share:.2f}; allowed are {allowed}{of}",
        challenger=share,
    )


def _chance(share: float, num_sessions: int | None) -> float:
    """Two standard deviations of a share that so many sessions show."""
    if not num_sessions:
        return 0.0
    return _CHANCE_DEVIATIONS * math.sqrt(share * (1.0 - share) / num_sessions)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
