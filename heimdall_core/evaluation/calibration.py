"""The temperature that calibrates a model beside what split conformal would do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heimdall_core.domain.manifest import Split
from heimdall_core.evaluation.metrics import CHI_SQUARED_2, Float

_LEVEL = 0.68


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationEffect:
    """A factor on every sigma, and what it does to a split."""

    coverage_68: float
    nll_change: float
    """Mean negative log-likelihood, nats, less that of the uncalibrated network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSummary:
    """The factor on sigma that the model carries, and the one that it could carry instead."""

    sigma_scale: float
    """In the exported graph: the most likely factor on the validation split."""
    conformal_sigma_scale: float | None
    """Makes the 68 % ellipse hold 68 % of the validation split (split conformal); None: too few sessions."""
    num_sessions: int
    """Of the validation split."""
    effects: Mapping[Split, Mapping[str, CalibrationEffect]]
    """By split, then by ``temperature`` and ``conformal``."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "sigma_scale": self.sigma_scale,
            "temperature": self.sigma_scale**2,
            "conformal_sigma_scale": self.conformal_sigma_scale,
            "fitted_on": "val",
            "num_sessions": self.num_sessions,
            "effects": {
                split: {name: asdict(effect) for name, effect in of_split.items()}
                for split, of_split in self.effects.items()
            },
        }


def summarize_calibration(sigma_scale: float, squared: Mapping[Split, Float]) -> CalibrationSummary:
    """Compares both calibrations.

    Args:
        sigma_scale: the factor on sigma that the model carries.
        squared: squared Mahalanobis distances of the uncalibrated network, by split; ``val`` among them.
    """
    conformal = conformal_scale(squared["val"])
    scales = {"temperature": sigma_scale} | ({} if conformal is None else {"conformal": conformal})
    return CalibrationSummary(
        sigma_scale=sigma_scale,
        conformal_sigma_scale=conformal,
        num_sessions=len(squared["val"]),
        effects={
            split: {name: _effect(distances, scale) for name, scale in scales.items()}
            for split, distances in squared.items()
        },
    )


def conformal_scale(squared: Float) -> float | None:
    """The factor on sigma with which the 68 % ellipse covers a further session with p >= 0.68.

    Split conformal (Papadopoulos et al. 2002, Lei et al. 2018): the ceil((n + 1) 0.68)-th smallest distance;
    None where there are too few to have one, or it is zero.
    """
    rank = int(np.ceil((len(squared) + 1) * _LEVEL))
    if rank > len(squared):
        return None
    radius = float(np.sort(squared)[rank - 1])
    return float(np.sqrt(radius / CHI_SQUARED_2[68])) or None


def _effect(squared: Float, scale: float) -> CalibrationEffect:
    shrunk = squared / scale**2
    return CalibrationEffect(
        coverage_68=float(np.mean(shrunk <= CHI_SQUARED_2[68])),
        nll_change=float(2.0 * np.log(scale) + 0.5 * np.mean(shrunk - squared)),
    )
