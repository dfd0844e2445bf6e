"""Scores of located test sessions in the local plane, in one unit for all estimators."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heimdall_core.training.inference import PlaneGaussians

Float = NDArray[np.float64]
#: Squared radius that holds 68 % of a bivariate Gaussian.
_CHI_SQUARED_68 = 2.278869
_NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Of one estimator on one test split."""

    mean: float
    median: float
    rmse: float
    nll: float
    coverage_68: float

    def row(self, unit: str) -> str:
        """For a table in Markdown."""
        return (
            f"{self.mean:.4g} / {self.median:.4g} / {self.rmse:.4g} {unit} "
            f"| {self.nll:.3f} | {self.coverage_68:.3f}"
        )


def score(prediction: PlaneGaussians, target_km: Float, *, unit_m: float = 1e3) -> Scores:
    """Lengths in units of ``unit_m``, NLL in nats per square of that unit."""
    error = np.linalg.norm(prediction.mean_km - target_km, axis=1) * 1e3 / unit_m
    nll = prediction.nll(target_km) - 2 * np.log(unit_m / 1e3)
    return Scores(
        mean=float(error.mean()),
        median=float(np.median(error)),
        rmse=float(np.sqrt((error**2).mean())),
        nll=float(nll.mean()),
        coverage_68=float((prediction.squared_distances(target_km) <= _CHI_SQUARED_68).mean()),
    )


def from_moments(mean_km: Float, covariance_km2: Float) -> PlaneGaussians:
    """Gaussians (N, 2), (N, 2, 2) as the network's predictions are kept."""
    sigma = np.sqrt(np.diagonal(covariance_km2, axis1=1, axis2=2))
    rho = np.clip(covariance_km2[:, 0, 1] / sigma.prod(axis=1), -0.9999, 0.9999)
    return PlaneGaussians(mean_km=mean_km, sigma_km=sigma, correlation=rho)


def with_residual_covariance(mean_km: Float, residual_km: Float) -> PlaneGaussians:
    """Point estimates with one covariance, that of residuals (M, 2) on sessions held out."""
    covariance = residual_km.T @ residual_km / len(residual_km)
    return from_moments(mean_km, np.broadcast_to(covariance, (len(mean_km), 2, 2)))


def rmse_ratio(mine_km: Float, other_km: Float, target_km: Float) -> tuple[float, float, float]:
    """RMSE of (N, 2) over RMSE of the other on the same sessions: value and 95 % bootstrap interval."""
    mine, other = (((p - target_km) ** 2).sum(axis=1) for p in (mine_km, other_km))
    rng = np.random.default_rng(0)
    index = rng.integers(0, len(mine), (_NUM_RESAMPLES, len(mine)))
    ratios = np.sqrt(mine[index].mean(axis=1) / other[index].mean(axis=1))
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(np.sqrt(mine.mean() / other.mean())), float(low), float(high)
