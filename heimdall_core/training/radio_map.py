"""A radio map of the training split: what each receiver hears, on average, at places in between.

A training on measured positions learns that nobody transmits where nobody was measured: its answers shrink
towards the places that it has seen. Levels, however, vary smoothly over the ground. So a Gaussian process of
each receiver's SNR over the plane is fitted to the training split (log-distance path loss, and deviations
from it on a short and a long length), and a share of the training items moves to places nearby, where they
get the levels that the process expects there, with its uncertainty and the measurements' own scatter.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from heimdall_core.features import FeatureSet, rows
from heimdall_core.training.augmentation import shift_levels
from heimdall_core.training.randomness import Stream, generator

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

NUM_PLACES = 4
"""Places near each training session."""
_FEWEST_HEARD = 50
"""A receiver that heard fewer sessions has no map."""
_HYPERPARAMETER_ROWS = 500
_MOST_ROWS = 3000
"""The work grows with the cube of it."""
_PLACES_AT_ONCE = 4096
"""Bounds the memory of reading the map."""
_GRID_REACH = 1.5
_CELLS_PER_REACH = 4
"""A cell's side is a quarter of the reach, if these are not too many; the grid ends 1.5 of it off a place."""
_MOST_CELLS = 10_000
_SHORT, _LONG = 0.2, 1.0
"""Where the search for the lengths begins, in spreads of the training positions."""
_NEAREST = 0.1
"""In spreads; closer to its receiver the path loss grows no more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RadioMap:
    """K places near each of N training sessions, and what R receivers are expected to hear there."""

    places_km: Float32
    """(N, K, 2) east, north."""
    mean_db: Float32
    """(N, K, R) SNR; NaN: the receiver has no map."""
    sigma_db: Float32
    """(N, K, R) of a single recording there: the map's uncertainty and the scatter."""
    lowest_db: Float32
    """(R,): no receiver states less."""
    grid: "RadioGrid | None" = None
    """The same map everywhere near the training places, where it was asked for."""

    @property
    def num_receivers(self) -> int:
        """Those with a map."""
        return int(np.isfinite(self.mean_db[0, 0]).sum())

    def levels_db(
        self, session_B: NDArray[np.int64], place_B: NDArray[np.int64], normal_BR: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """SNR (B, R) drawn at the places, from standard normal numbers; NaN: no map."""
        drawn = self.mean_db[session_B, place_B] + self.sigma_db[session_B, place_B] * normal_BR
        return np.maximum(drawn, self.lowest_db)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RadioGrid:
    """What R receivers are expected to hear in C square cells near the training places."""

    cells_km: Float32
    """(C, 2) east, north of the centres."""
    cell_km: float
    """Their side."""
    mean_db: Float32
    """(R, C) SNR; NaN: the receiver has no map."""
    sigma_db: Float32
    """(R, C) of a single recording there: the map's uncertainty and the scatter."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relocation:
    """Moves a share of the training items to places of a radio map."""

    radio_map: RadioMap
    share: float
    """0 to 1."""

    def apply(
        self, inputs_BRFT: Float32, target_km: Float32, keys: Sequence[tuple[int, int]], seed: int
    ) -> None:
        """Moves items ``(epoch, index)`` in place: levels of who is heard, and targets (B, 2)."""
        session_B = np.array([index for _, index in keys])
        moves_B, place_B, normal_BR = self._draw(keys, inputs_BRFT.shape[1], seed)
        wanted_BR = self.radio_map.levels_db(session_B, place_B, normal_BR)
        heard_BR = inputs_BRFT[:, :, rows.PRESENCE_ROW, 0] > 0
        shift_BR = wanted_BR - inputs_BRFT[:, :, rows.SNR_ROW, 0] * np.float32(rows.DB_SCALE)
        shift_BR[~heard_BR | np.isnan(wanted_BR) | ~moves_B[:, None]] = 0.0
        shift_levels(inputs_BRFT, shift_BR)
        target_km[moves_B] = self.radio_map.places_km[session_B, place_B][moves_B]

    def _draw(
        self, keys: Sequence[tuple[int, int]], num_receivers: int, seed: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], Float32]:
        moves, place = np.empty(len(keys), bool), np.empty(len(keys), np.int64)
        normal = np.empty((len(keys), num_receivers), np.float32)
        for row, (epoch, index) in enumerate(keys):
            rng = generator(Stream.MAP, seed, epoch, index)
            moves[row], place[row] = rng.random() < self.share, rng.integers(NUM_PLACES)
            rng.standard_normal(out=normal[row], dtype=np.float32)
        return moves, place, normal


def fit_radio_map(
    features: FeatureSet, sessions: NDArray[np.int64], *, reach_km: float, seed: int, with_grid: bool = False
) -> RadioMap:
    """Fits the map of ``sessions`` (N,) and reads it at places that scatter around theirs.

    Args:
        features: of the dataset version.
        sessions: of the training split.
        reach_km: standard deviation, along each axis, of the way from a session to its places.
        seed: of the places and of the rows that large splits are thinned to.
        with_grid: reads it in the cells of a grid too.
    """
    rng = generator(Stream.MAP, seed)
    places = features.targets_km[sessions].astype(np.float64)
    near = places[:, None] + rng.normal(0.0, reach_km, (len(places), NUM_PLACES, 2))
    cells, cell_km = _cells(places, reach_km) if with_grid else (np.empty((0, 2)), 0.0)
    read_at = np.concatenate([near.reshape(-1, 2), cells])
    snr_db = features.snr_db[sessions].astype(np.float64)
    mean, sigma = np.full((2, len(read_at), snr_db.shape[1]), np.nan)
    for receiver, heard in enumerate(np.isfinite(snr_db).T):
        if heard.sum() < _FEWEST_HEARD:
            continue
        at_km = _receiver_position(features, sessions[heard.argmax()], receiver)
        mean[:, receiver], sigma[:, receiver] = fit_receiver(
            places[heard], snr_db[heard, receiver], read_at, at_km, rng
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        lowest = np.nanmin(snr_db, axis=0)
    mean, sigma, num_near = mean.astype(np.float32), sigma.astype(np.float32), near[..., 0].size
    return RadioMap(
        places_km=near.astype(np.float32),
        mean_db=mean[:num_near].reshape(*near.shape[:2], -1),
        sigma_db=sigma[:num_near].reshape(*near.shape[:2], -1),
        lowest_db=lowest.astype(np.float32),
        grid=RadioGrid(
            cells_km=cells.astype(np.float32),
            cell_km=cell_km,
            mean_db=mean[num_near:].T.copy(),
            sigma_db=sigma[num_near:].T.copy(),
        )
        if with_grid
        else None,
    )


def _cells(places: Float, reach_km: float) -> tuple[Float, float]:
    """Centres (C, 2) of the square cells near places (N, 2), and their side: larger, if C is too large."""
    cell_km, tree = reach_km / _CELLS_PER_REACH, KDTree(places)
    while True:
        within = max(_GRID_REACH * reach_km, cell_km)
        steps = np.arange(-math.ceil(within / cell_km), math.ceil(within / cell_km) + 1)
        around = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        occupied = np.unique(np.floor(places / cell_km).astype(np.int64), axis=0)
        cells = (np.unique((occupied[:, None] + around).reshape(-1, 2), axis=0) + 0.5) * cell_km
        cells = cells[tree.query(cells)[0] <= within]
        if len(cells) <= _MOST_CELLS:
            return cells, cell_km
        cell_km *= max(1.1, math.sqrt(len(cells) / _MOST_CELLS))


def _receiver_position(features: FeatureSet, session: int, receiver: int) -> Float:
    """East, north in km, of a receiver that heard the session."""
    plane = features.inputs[features.first_segment[session], receiver]
    return np.asarray(plane[rows.POSITION_ROWS, 0][:2], np.float64) * rows.POSITION_SCALE_KM


def fit_receiver(
    places: Float, snr_db: Float, near: Float, at_km: Float, rng: np.random.Generator
) -> tuple[Float, Float]:
    """Mean and standard deviation (M,) of a recording's SNR, dB, at places ``near`` (M, 2).

    Args:
        places: (N, 2) where the receiver heard, km.
        snr_db: (N,) what it heard there.
        near: where to read the map.
        at_km: (2,) the receiver.
        rng: thins N to what can be computed.
    """
    order = rng.permutation(len(places))[:_MOST_ROWS]
    places, snr_db = places[order], snr_db[order]
    spread_km = float(places.std(axis=0).mean()) or 1.0
    path = _path_loss(places, at_km, spread_km)
    coefficients = np.linalg.lstsq(path, snr_db, rcond=None)[0]
    residual = snr_db - path @ coefficients
    few = slice(_HYPERPARAMETER_ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        kernel = (
            GaussianProcessRegressor(_kernel(spread_km, residual)).fit(places[few], residual[few]).kernel_
        )
    process = GaussianProcessRegressor(kernel, optimizer=None).fit(places, residual)
    parts = np.array_split(near, -(-len(near) // _PLACES_AT_ONCE))
    found = [process.predict(part, return_std=True) for part in parts]
    deviation, sigma = (np.concatenate(values) for values in zip(*found, strict=True))
    return _path_loss(near, at_km, spread_km) @ coefficients + deviation, sigma


def _path_loss(places: Float, at_km: Float, spread_km: float) -> Float:
    """(N, 2): a constant, and the logarithm of the distance to the receiver."""
    distance = np.hypot(np.linalg.norm(places - at_km, axis=1), _NEAREST * spread_km)
    return np.stack([np.ones(len(places)), np.log10(distance)], axis=1)


def _kernel(spread_km: float, residual_db: Float) -> Kernel:
    """Deviations on two lengths, and scatter; ``predict`` counts the scatter in."""
    part = max(float(residual_db.var()) / 3.0, 1e-2)
    bounds = (part * 1e-2, part * 1e2)
    lengths = (0.02 * spread_km, 10.0 * spread_km)
    return (
        ConstantKernel(part, bounds) * Matern(_SHORT * spread_km, lengths, nu=0.5)
        + ConstantKernel(part, bounds) * Matern(_LONG * spread_km, lengths, nu=1.5)
        + WhiteKernel(part, bounds)
    )
