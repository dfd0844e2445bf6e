"""Augmentation that physics allows: receivers fall silent or trade places, gains differ, levels are noisy.

Never a flip and never a renormalisation: position lives in the relative power of the receivers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from heimdall_core.features import rows
from heimdall_core.training.randomness import Stream, generator

Float32 = NDArray[np.float32]

_BANDS = slice(0, rows.FIRST_SIDE_ROW)
_LEVEL_ROWS = slice(0, rows.SNR_ROW + 1)
_GAIN_ROWS = slice(rows.POWER_ROW, rows.FLOOR_ROW + 1)
_NOISE_TABLE_SIZE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How strongly an item is disturbed; all of it is zero-mean but the dropout."""

    receiver_dropout: float = 0.05
    """Probability that a receiver is treated as absent; one is always left."""
    gain_db: float = 6.0
    """Standard deviation of a recording's gain: signal and noise floor move together, SNR stays."""
    level_db: float = 0.5
    """Standard deviation of a recording's SNR."""
    cell_db: float = 0.5
    """Standard deviation of one time-frequency cell."""
    permute_receivers: bool = True
    """Whether the receivers' planes, positions included, change places: no channel is one receiver's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The random numbers of a batch of B items and R receivers."""

    segment: NDArray[np.float64]
    """(B,): which segment, as a fraction of the item's segments, in [0, 1)."""
    noise: NDArray[np.float64]
    """(B,): where in the noise table, in [0, 1)."""
    dropout: NDArray[np.float64]
    """(B, R): uniform in [0, 1)."""
    gain: Float32
    """(B, R): standard normal."""
    level: Float32
    """(B, R): standard normal."""
    order: NDArray[np.int64]
    """(B, R): which receiver's plane each channel gets."""


def draw(seed: int, keys: Sequence[tuple[int, int]], num_receivers: int) -> Draws:
    """The random numbers of the items ``(epoch, index)``: a pure function of its arguments."""
    uniform = np.empty((len(keys), 2 + num_receivers))
    normal = np.empty((len(keys), 2, num_receivers), np.float32)
    ranks = np.empty((len(keys), num_receivers))
    for row, (epoch, index) in enumerate(keys):
        rng = generator(Stream.ITEM, seed, epoch, index)
        rng.random(out=uniform[row])
        rng.standard_normal(out=normal[row], dtype=np.float32)
        rng.random(out=ranks[row])
    return Draws(
        segment=uniform[:, 0],
        noise=uniform[:, 1],
        dropout=uniform[:, 2:],
        gain=normal[:, 0],
        level=normal[:, 1],
        order=ranks.argsort(axis=1),
    )


def augment(inputs_BRFT: Float32, draws: Draws, augmentation: Augmentation) -> None:
    """Disturbs a batch of features in place."""
    heard_BR = _drop_receivers(inputs_BRFT, draws, augmentation.receiver_dropout)
    gain = draws.gain * heard_BR * np.float32(augmentation.gain_db / rows.DBFS_SCALE)
    inputs_BRFT[:, :, _GAIN_ROWS] += gain[:, :, None, None]
    shift_levels(inputs_BRFT, draws.level * heard_BR * np.float32(augmentation.level_db))
    _add_cell_noise(inputs_BRFT, draws.noise, heard_BR, augmentation.cell_db / rows.DB_SCALE)
    if augmentation.permute_receivers:
        for planes, order in zip(inputs_BRFT, draws.order, strict=True):
            planes[:] = planes[order]


def shift_levels(inputs_BRFT: Float32, shift_db: Float32) -> None:
    """Makes recordings (B, R) stronger by so many dB over their noise floors, in place."""
    inputs_BRFT[:, :, _LEVEL_ROWS] += (shift_db / rows.DB_SCALE)[:, :, None, None]
    inputs_BRFT[:, :, rows.POWER_ROW] += (shift_db / rows.DBFS_SCALE)[:, :, None]


def _drop_receivers(inputs_BRFT: Float32, draws: Draws, probability: float) -> Float32:
    """Zeroes the planes of dropped receivers; returns 1 where a receiver is still heard."""
    present = inputs_BRFT[:, :, rows.PRESENCE_ROW, 0] > 0
    kept = present & (draws.dropout >= probability)
    kept[~kept.any(axis=1)] = present[~kept.any(axis=1)]
    inputs_BRFT[present & ~kept] = 0.0
    return kept.astype(np.float32)


def _add_cell_noise(
    inputs_BRFT: Float32, place_B: NDArray[np.float64], heard_BR: Float32, sigma: float
) -> None:
    size = inputs_BRFT[0, :, _BANDS].size
    table = _noise_table(max(_NOISE_TABLE_SIZE, 2 * size))
    for bands, place, heard in zip(inputs_BRFT[:, :, _BANDS], place_B, heard_BR, strict=True):
        start = int(place * (table.size - size))
        noise = table[start : start + size].reshape(bands.shape)
        np.add(bands, noise * (np.float32(sigma) * heard)[:, None, None], out=bands)
        np.clip(bands, *rows.BAND_RANGE, out=bands)


@cache
def _noise_table(size: int) -> Float32:
    """Standard normal numbers, drawn once: an item reads its noise from a place of its own."""
    return generator(Stream.NOISE, 0).standard_normal(size, dtype=np.float32)
