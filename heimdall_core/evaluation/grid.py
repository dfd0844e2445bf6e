"""The log-distance Bayes grid: a path-loss law fitted to the data, inverted on a grid of places."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.recordings.geodesy import to_degrees

Float = NDArray[np.float64]
Places = NDArray[np.int64]

_CELLS_PER_SIDE = 80
_MARGIN = 0.1
#: A path-loss exponent below free space's 2 or above dense obstruction's 6 is an artefact of little data.
_EXPONENT_RANGE = (1.0, 6.0)
_NEAREST_KM = 0.01
_SMALLEST_VARIANCE_DB2 = 0.25
_LARGEST_CORRELATION = 0.999
_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathLossLaw:
    """``snr = offset[r] + power - 10 exponent log10(distance) + shadowing``, in dB.

    ``power`` is the session's own deviation from the mean transmitter; it and the shadowing are Gaussian.
    """

    offset_db: Float
    """(R,): the receiver's gain over its noise, at 1 km from the mean transmitter."""
    exponent: float
    shadowing_variance: float
    """dB squared, independent for each receiver."""
    power_variance: float
    """dB squared, common to the receivers of a session."""

    def expected_db(self, places_km: Float, receivers_km: Float) -> Float:
        """Mean SNR of a transmitter at (M, 2) at each receiver: (M, R)."""
        return self.offset_db - 10.0 * self.exponent * log_distance(places_km, receivers_km)


def log_distance(places_km: Float, receivers_km: Float) -> Float:
    """log10 of the distances in km, never nearer than 10 m: (M, R)."""
    distance = np.linalg.norm(places_km[:, None] - receivers_km, axis=2)
    return np.log10(np.maximum(distance, _NEAREST_KM))


def fit_path_loss(snr_db: Float, targets_km: Float, receivers_km: Float) -> PathLossLaw:
    """Least squares for offsets and exponent, then moments of the residuals for the variances."""
    heard = ~np.isnan(snr_db)
    session, receiver = np.nonzero(heard)
    distance = log_distance(targets_km, receivers_km)[session, receiver]
    level = snr_db[session, receiver]
    offset, exponent = _regress(level, distance, receiver, snr_db.shape[1])
    residual = np.where(heard, 0.0, np.nan)
    residual[session, receiver] = level - offset[receiver] + 10.0 * exponent * distance
    shadowing, power = _variances(residual)
    return PathLossLaw(
        offset_db=offset, exponent=exponent, shadowing_variance=shadowing, power_variance=power
    )


def predict_log_distance_grid(
    snr_db: Float,
    targets_km: Float,
    receivers_km: Float,
    origin: tuple[float, float],
    *,
    train: Places,
    test: Places,
) -> Predictions:
    """Posterior mean and covariance of each test session under a law fitted to the train sessions.

    The prior is uniform over the box of the training positions, widened by a tenth; the transmitter's
    power is integrated out; a receiver that did not hear says nothing.
    """
    law = fit_path_loss(snr_db[train], targets_km[train], receivers_km)
    cells_km = _cells(targets_km[train])
    expected = law.expected_db(cells_km, receivers_km)
    starts = range(0, len(test), _CHUNK)
    parts = [_moments(snr_db[test[s : s + _CHUNK]], expected, law, cells_km) for s in starts]
    mean_km, covariance_km = (np.concatenate(p) for p in zip(*parts, strict=True))
    return _to_predictions(mean_km, covariance_km, origin, _cell_variance(cells_km))


def _regress(level: Float, distance: Float, receiver: Places, num_receivers: int) -> tuple[Float, float]:
    """Offsets (R,) and exponent; a receiver never heard gets the mean offset."""
    design = np.zeros((len(level), num_receivers + 1))
    design[np.arange(len(level)), receiver] = 1.0
    design[:, -1] = -10.0 * distance
    exponent = float(np.clip(np.linalg.lstsq(design, level, rcond=None)[0][-1], *_EXPONENT_RANGE))
    at_one_km = level + 10.0 * exponent * distance
    count = np.bincount(receiver, minlength=num_receivers)
    total = np.bincount(receiver, weights=at_one_km, minlength=num_receivers)
    offset = np.where(count > 0, total / np.maximum(count, 1), at_one_km.mean())
    return offset, exponent


def _variances(residual: Float) -> tuple[float, float]:
    """Within-session and between-session variance of residuals (N, R) with NaN: one-way random effects."""
    heard = ~np.isnan(residual)
    count = heard.sum(axis=1)
    several = residual[count >= 2]
    count = count[count >= 2]
    if len(several) == 0:
        return max(float(np.nanvar(residual)), _SMALLEST_VARIANCE_DB2), 0.0
    mean = np.nanmean(several, axis=1)
    within = float(np.nansum((several - mean[:, None]) ** 2) / (count - 1).sum())
    between = float(np.mean(mean**2 - within / count))
    return max(within, _SMALLEST_VARIANCE_DB2), max(between, 0.0)


def _cells(targets_km: Float) -> Float:
    low, high = targets_km.min(axis=0), targets_km.max(axis=0)
    margin = np.maximum(_MARGIN * (high - low), _NEAREST_KM)
    axes = [np.linspace(a, b, _CELLS_PER_SIDE) for a, b in zip(low - margin, high + margin, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def _moments(snr_db: Float, expected: Float, law: PathLossLaw, cells_km: Float) -> tuple[Float, Float]:
    """Posterior mean (B, 2) and covariance (B, 2, 2), km, of sessions (B, R)."""
    log_posterior = _log_likelihood(snr_db, expected, law)
    weight = np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ cells_km
    products = (cells_km[:, :, None] * cells_km[:, None, :]).reshape(-1, 4)
    second = (weight @ products).reshape(-1, 2, 2)
    return mean, second - mean[:, :, None] * mean[:, None, :]


def _log_likelihood(snr_db: Float, expected: Float, law: PathLossLaw) -> Float:
    """(B, cells), with the common power integrated out by the Sherman-Morrison formula."""
    heard = (~np.isnan(snr_db)).astype(np.float64)
    level = np.nan_to_num(snr_db)
    count = heard.sum(axis=1, keepdims=True)
    squares = (level**2).sum(axis=1, keepdims=True) - 2.0 * level @ expected.T + heard @ (expected**2).T
    sums = level.sum(axis=1, keepdims=True) - heard @ expected.T
    shared = law.power_variance / (law.shadowing_variance + count * law.power_variance)
    return -0.5 * (squares - shared * sums**2) / law.shadowing_variance


def _cell_variance(cells_km: Float) -> Float:
    """What a position is uncertain by inside one cell: (2,)."""
    step = np.ptp(cells_km, axis=0) / (_CELLS_PER_SIDE - 1)
    return step**2 / 12.0


def _to_predictions(
    mean_km: Float, covariance_km: Float, origin: tuple[float, float], cell_variance: Float
) -> Predictions:
    sigma = np.sqrt(np.maximum(np.diagonal(covariance_km, axis1=1, axis2=2), 0.0) + cell_variance)
    rho = covariance_km[:, 0, 1] / sigma.prod(axis=1)
    latitude, longitude = to_degrees(mean_km[:, 0], mean_km[:, 1], origin=origin)
    return Predictions.of(
        np.stack([latitude, longitude], axis=1),
        sigma * 1e3,
        np.clip(rho, -_LARGEST_CORRELATION, _LARGEST_CORRELATION),
    )
