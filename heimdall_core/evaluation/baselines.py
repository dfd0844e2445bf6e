"""What a model must beat: four simple estimators of position from relative power."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

from heimdall_core.evaluation.grid import predict_log_distance_grid
from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.features.feature_set import FeatureSet
from heimdall_core.recordings.geodesy import to_degrees

Float = NDArray[np.float64]
Places = NDArray[np.int64]

NUM_NEIGHBOURS = 15
#: How many dB apart "heard at 0 dB" and "not heard" lie for the neighbour search.
_SILENCE_DB = 10.0
#: A covariance from residuals is never taken to be tighter than this.
_SMALLEST_SIGMA_KM = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelData:
    """Levels and places, as baselines see them."""

    snr_db: Float
    """(N, R), NaN where a receiver is absent."""
    targets_km: Float
    """(N, 2) true east, north."""
    receivers_km: Float
    """(R, 2) east, north."""
    origin: tuple[float, float]

    @classmethod
    def of(cls, features: FeatureSet, receivers_km: Float, origin: tuple[float, float]) -> "LevelData":
        """From a feature set."""
        return cls(
            snr_db=features.snr_db.astype(np.float64),
            targets_km=features.targets_km.astype(np.float64),
            receivers_km=receivers_km,
            origin=origin,
        )


#: (data, places to learn from, places to predict) -> (len(places), 2) east, north, km.
PointEstimator = Callable[[LevelData, Places, Places], Float]


def predict_baselines(
    data: LevelData, *, train: Places, calibration: Places, test: Places
) -> dict[str, Predictions]:
    """Every baseline's predictions for ``test``, fitted on ``train``.

    The point estimators get one constant covariance, that of their residuals on ``calibration`` (the
    validation split, which they have not seen); the grid has a covariance of its own for each session.
    """
    predictions = {
        name: _with_constant_covariance(estimator, data, train, calibration, test)
        for name, estimator in POINT_ESTIMATORS.items()
    }
    predictions["log_distance_grid"] = predict_log_distance_grid(
        data.snr_db, data.targets_km, data.receivers_km, data.origin, train=train, test=test
    )
    return predictions


def train_mean(data: LevelData, train: Places, test: Places) -> Float:
    """The mean of the training positions, whatever is heard."""
    return np.repeat(data.targets_km[train].mean(axis=0, keepdims=True), len(test), axis=0)


def weighted_centroid(data: LevelData, train: Places, test: Places) -> Float:
    """Receivers' positions weighted by the received amplitude over the noise; needs no training.

    Where nothing is heard it falls back to the train mean.
    """
    weights = np.nan_to_num(10.0 ** (data.snr_db[test] / 20.0), nan=0.0)
    total = weights.sum(axis=1, keepdims=True)
    centroid = weights @ data.receivers_km / np.where(total > 0.0, total, 1.0)
    return np.where(total > 0.0, centroid, train_mean(data, train, test))


def knn(data: LevelData, train: Places, test: Places) -> Float:
    """The mean position of the 15 training sessions whose levels are nearest (fingerprinting)."""
    model = KNeighborsRegressor(n_neighbors=min(NUM_NEIGHBOURS, len(train)))
    fingerprints = fingerprint(data.snr_db)
    model.fit(fingerprints[train], data.targets_km[train])
    return np.asarray(model.predict(fingerprints[test]), np.float64)


def fingerprint(snr_db: Float) -> Float:
    """SNR with silence as 0 dB, beside a presence mask scaled to 10 dB: (N, 2 R)."""
    heard = ~np.isnan(snr_db)
    return np.concatenate([np.nan_to_num(snr_db, nan=0.0), heard * _SILENCE_DB], axis=1)


POINT_ESTIMATORS: Mapping[str, PointEstimator] = {
    "train_mean": train_mean,
    "weighted_centroid": weighted_centroid,
    "knn": knn,
}


def _with_constant_covariance(
    estimator: PointEstimator, data: LevelData, train: Places, calibration: Places, test: Places
) -> Predictions:
    residual_km = data.targets_km[calibration] - estimator(data, train, calibration)
    covariance = residual_km.T @ residual_km / len(residual_km)
    sigma_km = np.maximum(np.sqrt(np.diag(covariance)), _SMALLEST_SIGMA_KM)
    rho = float(np.clip(covariance[0, 1] / sigma_km.prod(), -0.999, 0.999))
    place_km = estimator(data, train, test)
    latitude, longitude = to_degrees(place_km[:, 0], place_km[:, 1], origin=data.origin)
    return Predictions.of(
        np.stack([latitude, longitude], axis=1),
        np.tile(sigma_km * 1e3, (len(test), 1)),
        np.full(len(test), rho),
    )
