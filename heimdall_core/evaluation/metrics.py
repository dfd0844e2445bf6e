"""Metrics of located transmitters: error in metres, likelihood, calibration, sharpness."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from heimdall_core.recordings.geodesy import distance_m, to_plane_km

Float = NDArray[np.float64]

#: Squared Mahalanobis radius of the ellipse that holds so much of a bivariate Gaussian: -2 ln(1 - p).
CHI_SQUARED_2: Final = {50: 1.386294, 68: 2.278869, 90: 4.605170, 95: 5.991465}

_ENCE_BINS = 10
_FEWEST_PER_BIN = 20
_ENERGY_DRAWS_LOG2 = 9
_ENERGY_CHUNK = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """N located transmitters; every array is (N,) float64."""

    latitude: Float
    longitude: Float
    sigma_east_m: Float
    sigma_north_m: Float
    correlation: Float

    @classmethod
    def of(
        cls,
        positions_deg: ArrayLike,
        sigma_m: ArrayLike,
        correlation: ArrayLike | None = None,
    ) -> "Predictions":
        """From the network's outputs: (N, 2) latitude, longitude; (N, 2) sigmas; (N,) or (N, 1) or None.

        Raises:
            ValueError: a sigma is not positive, a correlation is not inside (-1, 1), or lengths differ.
        """
        positions = np.asarray(positions_deg, np.float64).reshape(-1, 2)
        sigma = np.asarray(sigma_m, np.float64).reshape(-1, 2)
        rho = np.zeros(len(sigma)) if correlation is None else np.asarray(correlation, np.float64).ravel()
        if not len(positions) == len(sigma) == len(rho):
            raise ValueError(f"lengths differ: {len(positions)}, {len(sigma)} and {len(rho)}")
        if not (np.all(sigma > 0.0) and np.all(np.abs(rho) < 1.0)):
            raise ValueError("every sigma must be positive and every correlation inside (-1, 1)")
        return cls(
            latitude=positions[:, 0],
            longitude=positions[:, 1],
            sigma_east_m=sigma[:, 0],
            sigma_north_m=sigma[:, 1],
            correlation=rho,
        )

    def __len__(self) -> int:
        return len(self.latitude)

    def take(self, chosen: NDArray[np.generic] | slice) -> "Predictions":
        """Some of them: places in any order, a boolean mask or a slice."""
        return Predictions(
            latitude=self.latitude[chosen],
            longitude=self.longitude[chosen],
            sigma_east_m=self.sigma_east_m[chosen],
            sigma_north_m=self.sigma_north_m[chosen],
            correlation=self.correlation[chosen],
        )


def evaluate(
    predictions: Predictions,
    true_latitude: ArrayLike,
    true_longitude: ArrayLike,
    origin: tuple[float, float],
) -> dict[str, float]:
    """All metrics of one set of predictions, as JSON numbers.

    ``nll_per_m2`` is the mean of -ln(density per square metre); ``ence`` the expected normalised
    calibration error (Levi et al., "Evaluating and Calibrating Uncertainty Prediction in Regression Tasks",
    Sensors 2022); ``energy_score_m`` the Gneiting-Raftery energy score; ``coverage_P`` the share
    of truths inside the P % ellipse.

    Raises:
        ValueError: there is nothing to evaluate, or lengths differ.
    """
    errors = error_m(predictions, true_latitude, true_longitude)
    residual = residual_m(predictions, true_latitude, true_longitude, origin)
    metrics = _error_metrics(errors)
    distance = squared_mahalanobis(predictions, residual)
    metrics["nll_per_m2"] = float(np.mean(nll_per_m2(predictions, distance)))
    for percent, radius in CHI_SQUARED_2.items():
        metrics[f"coverage_{percent}"] = float(np.mean(distance <= radius))
    metrics["ence"] = ence(predictions, residual)
    metrics["energy_score_m"] = energy_score_m(predictions, residual)
    metrics["median_area68_km2"] = float(np.median(area68_km2(predictions)))
    return metrics


def error_m(predictions: Predictions, true_latitude: ArrayLike, true_longitude: ArrayLike) -> Float:
    """Geodesic distance between prediction and truth: (N,).

    Raises:
        ValueError: there is nothing to evaluate, or lengths differ.
    """
    num_true = len(np.atleast_1d(np.asarray(true_latitude)))
    if num_true == 0 or num_true != len(predictions):
        raise ValueError(f"{len(predictions)} predictions cannot be compared with {num_true} truths")
    return distance_m(predictions.latitude, predictions.longitude, true_latitude, true_longitude)


def residual_m(
    predictions: Predictions, true_latitude: ArrayLike, true_longitude: ArrayLike, origin: tuple[float, float]
) -> Float:
    """Truth less prediction in the plane about ``origin``: (N, 2) east, north."""
    true_km = np.stack(to_plane_km(true_latitude, true_longitude, origin=origin), axis=1)
    predicted_km = np.stack(to_plane_km(predictions.latitude, predictions.longitude, origin=origin), axis=1)
    return (true_km - predicted_km) * 1e3


def squared_mahalanobis(predictions: Predictions, residual: Float) -> Float:
    """Squared distance in standard deviations: (N,); chi-squared with 2 degrees if calibrated."""
    east = residual[:, 0] / predictions.sigma_east_m
    north = residual[:, 1] / predictions.sigma_north_m
    rho = predictions.correlation
    return (east**2 - 2.0 * rho * east * north + north**2) / (1.0 - rho**2)


def nll_per_m2(predictions: Predictions, distance: Float) -> Float:
    """-ln of the density per square metre at the truth: (N,)."""
    return np.log(2.0 * np.pi) + np.log(_root_determinant(predictions)) + 0.5 * distance


def area68_km2(predictions: Predictions) -> Float:
    """Area of the ellipse that holds 68 %: (N,)."""
    return np.pi * CHI_SQUARED_2[68] * _root_determinant(predictions) * 1e-6


def ence(predictions: Predictions, residual: Float) -> float:
    """Mean of |root mean variance - RMSE| / root mean variance over bins of like variance.

    Per-axis values: the two axes of a prediction are averaged. Up to 10 bins of equal count, none with
    fewer than 20 predictions.
    """
    variance = (predictions.sigma_east_m**2 + predictions.sigma_north_m**2) / 2.0
    squared_error = np.mean(residual**2, axis=1)
    num_bins = int(np.clip(len(variance) // _FEWEST_PER_BIN, 1, _ENCE_BINS))
    bins = np.array_split(np.argsort(variance, kind="stable"), num_bins)
    root_variance = np.sqrt([variance[b].mean() for b in bins])
    rmse = np.sqrt([squared_error[b].mean() for b in bins])
    return float(np.mean(np.abs(root_variance - rmse) / root_variance))


def energy_score_m(predictions: Predictions, residual: Float) -> float:
    """Mean of E|X - y| - E|X - X'| / 2 over 512 quasi-random pairs of each Gaussian: smaller is better."""
    uniform = Sobol(d=4, scramble=True, rng=0).random_base2(_ENERGY_DRAWS_LOG2)
    draws = norm.ppf(uniform).reshape(-1, 2, 2).swapaxes(0, 1)
    starts = range(0, len(residual), _ENERGY_CHUNK)
    parts = [
        _energy(predictions.take(slice(s, s + _ENERGY_CHUNK)), residual[s : s + _ENERGY_CHUNK], draws)
        for s in starts
    ]
    return float(np.concatenate(parts).mean())


def _energy(predictions: Predictions, residual: Float, draws: Float) -> Float:
    first, second = (_coloured(predictions, d) for d in draws)
    to_truth = np.linalg.norm(first - residual[:, None], axis=2).mean(axis=1)
    between = np.linalg.norm(first - second, axis=2).mean(axis=1)
    return to_truth - 0.5 * between


def _coloured(predictions: Predictions, draws: Float) -> Float:
    """Standard normal draws (D, 2) with each prediction's covariance: (N, D, 2)."""
    rho = predictions.correlation[:, None]
    east = draws[:, 0] * predictions.sigma_east_m[:, None]
    mixed = rho * draws[:, 0] + np.sqrt(1.0 - rho**2) * draws[:, 1]
    return np.stack([east, mixed * predictions.sigma_north_m[:, None]], axis=2)


def _root_determinant(predictions: Predictions) -> Float:
    sigmas = predictions.sigma_east_m * predictions.sigma_north_m
    return sigmas * np.sqrt(1.0 - predictions.correlation**2)


def _error_metrics(errors: Float) -> dict[str, float]:
    p68, p90, p95 = np.percentile(errors, [68, 90, 95])
    return {
        "mean_error_m": float(np.mean(errors)),
        "median_error_m": float(np.median(errors)),
        "rmse_m": float(np.sqrt(np.mean(errors**2))),
        "p68_error_m": float(p68),
        "p90_error_m": float(p90),
        "p95_error_m": float(p95),
    }
