"""The best that any estimator can do: the exact posterior of the place on a grid over the box.

It uses all that the network is given: the SNR of each receiver that heard, which receivers were silent, and
what floors and carrier offsets tell about the band; it knows the world's laws and, in world B, its
shadow maps. Levels and offsets enter as drawn, without the error of measuring them on a segment, which
can only help: no network can do better than by chance.

That a session exists at all (somebody heard it) needs no correction: the observation implies it, so the
probability of being recorded is not a factor of the posterior.

In world A the posterior is exact but for the grid. In world B a recording's deviation from the map,
3 dB of shadowing and the fading averaged over a segment, is taken to be Gaussian with the mean and variance
that it has; its logarithm is skewed a little.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.simulation.band_evidence import Band, log_band_evidence
from heimdall_core.simulation.level_likelihood import LevelLikelihood
from heimdall_core.simulation.link_budget import FREQUENCIES_HZ
from heimdall_core.simulation.posterior import Posterior
from heimdall_core.simulation.sites import EAST_KM, NORTH_KM
from heimdall_core.simulation.world import World, WorldDraw

Float = NDArray[np.float64]

CELL_KM: Final = 1.0
MAP_CELL_KM: Final = 0.5
"""Where a shadow map changes within a kilometre."""

_BLOCK_SESSIONS: Final = 64
_MEDIAN_STEPS: Final = 6
"""The mean error of the result is then within 5 m of the least."""


def bayes_posterior(draw: WorldDraw, *, band: Band = "inferred", cell_km: float | None = None) -> Posterior:
    """The posterior of each session of the draw; 5,000 of world A take some seconds.

    Args:
        draw: N sessions.
        band: what is known of the transmitter's band (``log_band_evidence``).
        cell_km: edge of the grid's cells; None: ``CELL_KM``, or ``MAP_CELL_KM`` in a world with a map.

    Raises:
        ValueError: there are no sessions, or the cells do not tile the box.
    """
    if len(draw) == 0:
        raise ValueError("there are no sessions to locate")
    grid = BayesGrid(draw.world, cell_km or (MAP_CELL_KM if draw.world.shadow_map else CELL_KM))
    log_evidence = log_band_evidence(draw, band)
    blocks = list(_blocks(draw, log_evidence))
    parts = [grid.locate(draw.take(block), log_evidence[block]) for block in blocks]
    order = np.argsort(np.concatenate(blocks))
    joined = {f.name: np.concatenate([getattr(p, f.name) for p in parts])[order] for f in fields(Posterior)}
    return Posterior(**joined)


class BayesGrid:
    """The box in cells, and what the receivers would measure of a transmitter in each.

    Raises:
        ValueError: the cells do not tile the box.
    """

    def __init__(self, world: World, cell_km: float) -> None:
        self.world = world
        self.cell_km = cell_km
        self.places_km = _cell_centres(cell_km)
        self.likelihoods = [level_likelihood(world, self.places_km, f) for f in FREQUENCIES_HZ]

    def log_likelihood(self, draw: WorldDraw, log_evidence: Float) -> Float:
        """Of B sessions in which the same receivers heard and the same bands are possible, (B, P)."""
        columns = [
            log_evidence[:, band, np.newaxis]
            + self.likelihoods[band].of_pattern(draw.snr_db, draw.is_recorded[0])
            for band in np.flatnonzero(np.isfinite(log_evidence[0]))
        ]
        return np.asarray(np.logaddexp.reduce(columns) if len(columns) > 1 else columns[0])

    def locate(self, draw: WorldDraw, log_evidence: Float) -> Posterior:
        """The posterior of such sessions."""
        log_cells = self.log_likelihood(draw, log_evidence)
        log_truth = log_likelihood_at(draw, draw.truth_km, log_evidence)
        is_denser = log_cells > log_truth[:, np.newaxis]
        largest = log_cells.max(axis=1)
        weight = np.exp(np.subtract(log_cells, largest[:, np.newaxis], out=log_cells), out=log_cells)
        total = weight.sum(axis=1)
        weight /= total[:, np.newaxis]
        mean_km, covariance_km2 = self._moments(weight)
        return Posterior(
            truth_km=draw.truth_km,
            mean_km=mean_km,
            median_km=self._spatial_median(weight, mean_km),
            covariance_km2=covariance_km2,
            log_density_at_truth=log_truth - largest - np.log(total * self.cell_km**2),
            credibility=np.einsum("bp,bp->b", weight, is_denser),
        )

    def _moments(self, weight: Float) -> tuple[Float, Float]:
        """Mean (B, 2) and covariance (B, 2, 2), that of a cell's own square included."""
        places = self.places_km
        mean = weight @ places
        second = (weight @ (places[:, :, np.newaxis] * places[:, np.newaxis]).reshape(-1, 4)).reshape(
            -1, 2, 2
        )
        inside = self.cell_km**2 / 12.0 * np.eye(2)
        return mean, second - mean[:, :, np.newaxis] * mean[:, np.newaxis] + inside

    def _spatial_median(self, weight: Float, start_km: Float) -> Float:
        """E. Weiszfeld's iteration from the mean, in single precision, (B, 2)."""
        places, median, mass = (a.astype(np.float32) for a in (self.places_km, start_km, weight))
        squares = (places**2).sum(axis=1)
        for _ in range(_MEDIAN_STEPS):
            distance = squares - 2.0 * median @ places.T + (median**2).sum(axis=1)[:, np.newaxis]
            pull = mass / np.sqrt(np.maximum(distance, (0.5 * self.cell_km) ** 2))
            median = pull @ places / pull.sum(axis=1)[:, np.newaxis]
        return median.astype(np.float64)


def log_likelihood_at(draw: WorldDraw, places_km: Float, log_evidence: Float) -> Float:
    """Of place i for session i, on the same scale as the grid's: (N, 2) -> (N,)."""
    columns = [
        log_evidence[:, band]
        + level_likelihood(draw.world, places_km, f).of_pairs(draw.snr_db, draw.is_recorded)
        for band, f in enumerate(FREQUENCIES_HZ)
    ]
    return np.asarray(np.logaddexp.reduce(columns))


def level_likelihood(world: World, places_km: Float, frequency_hz: float) -> LevelLikelihood:
    """What a world's receivers would measure of a transmitter at (P, 2) places."""
    mean_db, variance_db2 = world.residual_moments_db()
    frequencies = np.full(len(places_km), frequency_hz)
    median_db = world.median_snr_db(places_km[:, 0], places_km[:, 1], frequencies)
    return LevelLikelihood(median_db=median_db + mean_db, sigma_db=float(np.sqrt(variance_db2)))


def _cell_centres(cell_km: float) -> Float:
    """(P, 2) east, north."""
    axes = []
    for low, high in (EAST_KM, NORTH_KM):
        num_cells = round((high - low) / cell_km)
        if num_cells < 1 or abs(num_cells * cell_km - (high - low)) > 1e-9:
            raise ValueError(f"cell_km={cell_km:g} does not divide the box's {high - low:g} km")
        axes.append(low + cell_km * (np.arange(num_cells) + 0.5))
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def _blocks(draw: WorldDraw, log_evidence: Float) -> Iterator[NDArray[np.int64]]:
    """Sessions in which the same receivers heard and the same bands are possible, of like total level."""
    patterns = np.concatenate([draw.is_recorded, np.isfinite(log_evidence)], axis=1)
    _, group = np.unique(patterns, axis=0, return_inverse=True)
    total_db = np.where(draw.is_recorded, draw.snr_db, 0.0).sum(axis=1)
    order = np.lexsort((total_db, group))
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        yield from np.array_split(members, -(-len(members) // _BLOCK_SESSIONS))
