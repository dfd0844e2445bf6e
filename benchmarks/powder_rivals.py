"""What the network must beat on measured powers, fitted on the same folds: MLPs, a radio map, neighbours."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.scores import from_moments, with_residual_covariance
from heimdall_core.evaluation.baselines import LevelData, fingerprint, knn
from heimdall_core.features import FeatureSet
from heimdall_core.training.inference import PlaneGaussians
from heimdall_core.training.radio_map import fit_receiver

Float = NDArray[np.float64]
Rival = Callable[[FeatureSet, Float], PlaneGaussians]
"""From features and the receivers' places (R, 2) to the test split's predictions."""
_NUM_MLPS = 3
_CELL_KM = 0.05
_REACH_KM = 0.3
_DENSITY_KM = 0.15
_FLAT_SHARE = 0.02
_FEWEST_HEARD = 100


def mlp_ensemble(features: FeatureSet, _receivers_km: Float) -> PlaneGaussians:
    """The mean of three perceptrons on (SNR, mask); one covariance, of the residuals on val."""
    inputs = StandardScaler().fit_transform(fingerprint(features.snr_db.astype(np.float64)))
    train, val, test = (features.indices(s) for s in ("train", "val", "test"))
    target = features.targets_km.astype(np.float64)
    models = [
        MLPRegressor(
            hidden_layer_sizes=(256, 256), alpha=1e-2, early_stopping=True, max_iter=300, random_state=i
        ).fit(inputs[train], target[train])
        for i in range(_NUM_MLPS)
    ]
    mean = np.mean([m.predict(inputs) for m in models], axis=0)
    return with_residual_covariance(mean[test], target[val] - mean[val])


def neighbours(features: FeatureSet, receivers_km: Float) -> PlaneGaussians:
    """Fifteen nearest fingerprints; one covariance, of the residuals on val."""
    levels = LevelData.of(features, receivers_km, (0.0, 0.0))
    train, val, test = (features.indices(s) for s in ("train", "val", "test"))
    residual = levels.targets_km[val] - knn(levels, train, val)
    return with_residual_covariance(knn(levels, train, test), residual)


def radio_map(features: FeatureSet, receivers_km: Float) -> PlaneGaussians:
    """A Gaussian process of each receiver's SNR over the plane (the map of ``training.radio_map``), inverted.

    The prior over squares of 50 m is the density of the training places. A receiver that took no part says
    nothing. The covariance is scaled to the residuals on val.
    """
    train, val, test = (features.indices(s) for s in ("train", "val", "test"))
    target, snr = features.targets_km.astype(np.float64), features.snr_db.astype(np.float64)
    cells, log_prior = cells_of(target[train])
    maps = [receiver_map(target[train], snr[train, r], cells, at) for r, at in enumerate(receivers_km)]
    posterior = {n: invert(snr[rows], cells, log_prior, maps) for n, rows in (("val", val), ("test", test))}
    scale = float((posterior["val"].squared_distances(target[val]) / 2).mean())
    found = posterior["test"]
    return PlaneGaussians(
        mean_km=found.mean_km, sigma_km=found.sigma_km * np.sqrt(scale), correlation=found.correlation
    )


RIVALS: Mapping[str, Rival] = {
    "three MLPs": mlp_ensemble,
    "kNN-15": neighbours,
    "GP radio map": radio_map,
}


def cells_of(places_km: Float) -> tuple[Float, Float]:
    """Squares (C, 2) within reach of a place where somebody transmitted, and the logarithm of their prior."""
    low, high = places_km.min(axis=0) - _REACH_KM, places_km.max(axis=0) + _REACH_KM
    axes = [np.arange(a, b, _CELL_KM) for a, b in zip(low, high, strict=True)]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(cells[:, None] - places_km[None], axis=2)
    density = np.exp(-0.5 * (distance / _DENSITY_KM) ** 2).sum(axis=1)
    log_prior = np.log(density + _FLAT_SHARE * density.mean())
    within = distance.min(axis=1) <= _REACH_KM
    return cells[within], log_prior[within]


def receiver_map(places_km: Float, snr_db: Float, cells: Float, at_km: Float) -> tuple[Float, Float] | None:
    """Mean and variance of the SNR, dB, in every cell (C, 2), of a receiver; None: heard too rarely."""
    heard = np.flatnonzero(~np.isnan(snr_db))
    if len(heard) < _FEWEST_HEARD:
        return None
    rng = np.random.default_rng(0)
    level, sigma = fit_receiver(places_km[heard], snr_db[heard], cells, at_km, rng)
    return level, sigma**2


def invert(
    snr_db: Float, cells: Float, log_prior: Float, maps: list[tuple[Float, Float] | None]
) -> PlaneGaussians:
    """Posterior mean and covariance of the levels (N, R); NaN: the receiver says nothing."""
    log_likelihood = np.repeat(log_prior[None], len(snr_db), axis=0)
    for receiver, radio in enumerate(maps):
        if radio is None:
            continue
        level, variance = radio
        term = -0.5 * ((snr_db[:, receiver, None] - level) ** 2 / variance + np.log(variance))
        log_likelihood += np.nan_to_num(term, nan=0.0)
    weight = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ cells
    second = np.einsum("nc,ci,cj->nij", weight, cells, cells, optimize=True)
    covariance = second - mean[:, :, None] * mean[:, None, :] + np.eye(2) * _CELL_KM**2 / 12
    return from_moments(mean, covariance)
