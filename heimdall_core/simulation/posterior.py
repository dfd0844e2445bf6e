"""Posteriors of many sessions' places, beside the truth."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PERCENTS: Final = (50, 68, 90, 95)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """Of N sessions; lengths in km in the plane about the box's origin, densities in nats per km2."""

    truth_km: Float
    """(N, 2) east, north."""
    mean_km: Float
    """(N, 2) the estimate of least mean squared error."""
    median_km: Float
    """(N, 2) the spatial median, the estimate of least mean error."""
    covariance_km2: Float
    """(N, 2, 2)."""
    log_density_at_truth: Float
    """(N,) of the posterior itself, which need not look like a Gaussian."""
    credibility: Float
    """(N,) posterior probability of all places that are denser than the truth; uniform in (0, 1)."""

    def __len__(self) -> int:
        return len(self.truth_km)

    @property
    def error_km(self) -> Float:
        """(N,) distance of the mean from the truth."""
        return np.asarray(np.linalg.norm(self.mean_km - self.truth_km, axis=1))

    @property
    def expected_squared_error_km2(self) -> Float:
        """(N,) what the posterior itself expects of ``error_km`` squared."""
        return np.asarray(np.trace(self.covariance_km2, axis1=1, axis2=2))

    @property
    def gaussian_squared_distance(self) -> Float:
        """(N,) squared distance of the truth in standard deviations."""
        residual = (self.truth_km - self.mean_km)[:, :, np.newaxis]
        return np.asarray((residual * np.linalg.solve(self.covariance_km2, residual)).sum(axis=(1, 2)))

    @property
    def gaussian_log_density_at_truth(self) -> Float:
        """(N,) of the Gaussian with the posterior's own mean and covariance."""
        log_determinant = np.linalg.slogdet(self.covariance_km2)[1]
        return np.asarray(-np.log(2.0 * np.pi) - 0.5 * log_determinant - 0.5 * self.gaussian_squared_distance)

    def summary(self) -> dict[str, float]:
        """Errors in km, negative log densities in nats per km2, coverages."""
        error = self.error_km
        median_error = np.linalg.norm(self.median_km - self.truth_km, axis=1)
        exact = {f"coverage_{p}": float(np.mean(self.credibility <= p / 100)) for p in PERCENTS}
        distance = self.gaussian_squared_distance
        gaussian = {
            f"gaussian_coverage_{p}": float(np.mean(distance <= -2.0 * np.log1p(-p / 100))) for p in PERCENTS
        }
        return {
            "mean_error_km": float(error.mean()),
            "median_error_km": float(np.median(error)),
            "rmse_km": float(np.sqrt(np.mean(error**2))),
            "expected_rmse_km": float(np.sqrt(self.expected_squared_error_km2.mean())),
            "mean_error_of_median_km": float(median_error.mean()),
            "median_error_of_median_km": float(np.median(median_error)),
            "nll_per_km2": -float(self.log_density_at_truth.mean()),
            "gaussian_nll_per_km2": -float(self.gaussian_log_density_at_truth.mean()),
            **exact,
            **gaussian,
        }
