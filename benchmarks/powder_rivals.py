"""What the network must beat on measured powers, fitted on the same folds: MLPs, a radio map, neighbours."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.scores import from_moments, with_residual_covariance
from heimdall_core.evaluation.baselines import LevelData, fingerprint, knn
from heimdall_core.features import FeatureSet
from heimdall_core.training.inference import PlaneGaussians

Float = NDArray[np.float64]
Rival = Callable[[FeatureSet, Float], PlaneGaussians]
"""From features and the receivers' places (R, 2) to the test split's predictions."""
_NUM_MLPS = 3
_CELL_KM = 0.05
_REACH_KM = 0.3
_FEWEST_HEARD = 30
_HYPERPARAMETER_ROWS = 400
_MAP_ROWS = 1500


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


def radio_map(features: FeatureSet, _receivers_km: Float) -> PlaneGaussians:
    """A Gaussian process of each receiver's SNR over the plane, inverted on a grid of 50 m.

    The common power of a transmission stays in the levels: all transmitters are alike (1 W). A receiver that
    took no part says nothing. The covariance is scaled to the residuals on val.
    """
    train, val, test = (features.indices(s) for s in ("train", "val", "test"))
    target, snr = features.targets_km.astype(np.float64), features.snr_db.astype(np.float64)
    cells = _cells(target[train])
    maps = [_receiver_map(target[train], snr[train, r], cells) for r in range(snr.shape[1])]
    posterior = {name: _invert(snr[rows], cells, maps) for name, rows in (("val", val), ("test", test))}
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


def _cells(places_km: Float) -> Float:
    """Squares within reach of a place where somebody transmitted."""
    low, high = places_km.min(axis=0) - _REACH_KM, places_km.max(axis=0) + _REACH_KM
    axes = [np.arange(a, b, _CELL_KM) for a, b in zip(low, high, strict=True)]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.min(np.linalg.norm(cells[:, None] - places_km[None, ::4], axis=2), axis=1)
    return cells[distance <= _REACH_KM]


def _receiver_map(places_km: Float, snr_db: Float, cells: Float) -> tuple[Float, Float] | None:
    """Mean and variance of the SNR, dB, in every cell; None: heard too rarely."""
    heard = np.flatnonzero(~np.isnan(snr_db))
    if len(heard) < _FEWEST_HEARD:
        return None
    rng = np.random.default_rng(0)
    heard = rng.permutation(heard)
    kernel = ConstantKernel(50.0) * RBF(0.3, (0.05, 3.0)) + WhiteKernel(20.0)
    few = heard[:_HYPERPARAMETER_ROWS]
    mean = snr_db[heard].mean()
    fitted = GaussianProcessRegressor(kernel).fit(places_km[few], snr_db[few] - mean)
    many = heard[:_MAP_ROWS]
    process = GaussianProcessRegressor(fitted.kernel_, optimizer=None)
    process.fit(places_km[many], snr_db[many] - mean)
    level, sigma = process.predict(cells, return_std=True)
    return level + mean, sigma**2


def _invert(snr_db: Float, cells: Float, maps: list[tuple[Float, Float] | None]) -> PlaneGaussians:
    """Posterior mean and covariance under a uniform prior over the cells."""
    log_likelihood = np.zeros((len(snr_db), len(cells)))
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
