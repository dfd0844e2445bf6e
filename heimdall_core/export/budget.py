"""How much worse than the network a file of lower precision may be."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import Precision

REPORTED_SPLIT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Of a model on a split."""

    median_error_m: float
    nll_per_m2: float
    """Nats; of a mixture, under the Gaussian of its moments."""
    mixture_nll_per_m2: float | None = None
    """Nats, under the components; None: there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The largest changes for the worse; better is no fault."""

    median_error_share: float
    """Of the network's own median error."""
    median_error_m: float
    """Allowed in any case: float32 degrees have steps of 0.4 m."""
    nll: float
    """Nats."""


BUDGETS: dict[Precision, Budget] = {
    "fp16": Budget(median_error_share=0.005, median_error_m=1.0, nll=0.005),
    "int8": Budget(median_error_share=0.02, median_error_m=1.0, nll=0.02),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What tells how accurate a file is: the splits that were held back from the training."""

    reference: Mapping[str, Accuracy]
    """The network's own, by split; the splits are those that ``score`` returns."""
    score: Callable[[Path], Mapping[str, Accuracy]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A file of lower precision beside the network, by split; every split is within the budget."""

    reference: Mapping[str, Accuracy]
    found: Mapping[str, Accuracy]
    budget: Budget

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the changes on the test split first."""
        return {
            "median_error_change": _share(self.reference[REPORTED_SPLIT], self.found[REPORTED_SPLIT]),
            "nll_change": _nll_change(self.reference[REPORTED_SPLIT], self.found[REPORTED_SPLIT]),
            "budget": asdict(self.budget),
            "splits": {
                split: _side_by_side(reference, self.found[split])
                for split, reference in self.reference.items()
            },
        }


def require_within_budget(path: Path, precision: Precision, judge: Judge) -> Comparison:
    """Compares a file with the network on every split.

    Raises:
        ExportError: it is worse than the budget allows on one of them, or a number is not finite.
    """
    budget = BUDGETS[precision]
    try:
        found = judge.score(path)
    except ValueError as error:  # a sigma that is not positive, or no number
        raise ExportError(
            f"the {precision} model's predictions are none: {error}", code="export_budget"
        ) from error
    if found.keys() != judge.reference.keys() or REPORTED_SPLIT not in found:
        raise ExportError(
            f"the {precision} model was not measured on every split: {sorted(found)}", code="export_budget"
        )
    for split, reference in judge.reference.items():
        _require(split, reference, found[split], budget, precision)
    return Comparison(reference=judge.reference, found=found, budget=budget)


def _require(split: str, reference: Accuracy, found: Accuracy, budget: Budget, precision: Precision) -> None:
    error_change_m = found.median_error_m - reference.median_error_m
    allowed_m = max(budget.median_error_m, budget.median_error_share * reference.median_error_m)
    nll_change = _nll_change(reference, found)
    is_within = error_change_m <= allowed_m and nll_change <= budget.nll
    if not (is_within and _is_finite(reference, found)):
        raise ExportError(
            f"on the {split} split the {precision} model's median error is {error_change_m:+.1f} m "
            f"({allowed_m:.1f} m allowed) and its NLL {nll_change:+.4f} ({budget.nll:g} allowed) "
            "against the network's",
            code="export_budget",
            hint="Nothing of it was published. Use fp32, or fp16 in place of int8.",
        )


def _side_by_side(reference: Accuracy, found: Accuracy) -> dict[str, float]:
    return {
        f"{owner}{name}": value
        for name in ("median_error_m", "nll_per_m2", "mixture_nll_per_m2")
        for owner, accuracy in (("", found), ("network_", reference))
        if (value := getattr(accuracy, name)) is not None
    }


def _is_finite(*accuracies: Accuracy) -> bool:
    values = [value for a in accuracies for value in asdict(a).values() if value is not None]
    return bool(np.isfinite(values).all())


def _share(reference: Accuracy, found: Accuracy) -> float:
    """The relative change of the median error."""
    change = found.median_error_m - reference.median_error_m
    return change / max(reference.median_error_m, 1e-9)


def _nll_change(reference: Accuracy, found: Accuracy) -> float:
    """That of the Gaussians, or of the mixtures where it is greater.

    Raises:
        ExportError: one of the two is a mixture, the other is none.
    """
    change = found.nll_per_m2 - reference.nll_per_m2
    of_file, of_network = found.mixture_nll_per_m2, reference.mixture_nll_per_m2
    if of_file is None and of_network is None:
        return change
    if of_file is None or of_network is None:
        raise ExportError("the components were not measured on every split", code="export_budget")
    return max(change, of_file - of_network)
