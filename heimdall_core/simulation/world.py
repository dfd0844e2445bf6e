"""A simulated world: how levels come about, the sessions drawn in it, and their samples.

A transmitter lies anywhere in the box with the same probability. Each receiver gets
EIRP - Hata suburban loss + shadowing over a noise that is fixed by site and band; it records the
transmission where that SNR reaches ``HEARING_THRESHOLD_DB`` and it does not happen to be off
(p = 0.1). A transmission that nobody records makes no session. Gain, speech and noise say nothing
about the position, and the carrier's offsets say no more than the band.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.geodesy import to_degrees
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source
from heimdall_core.simulation.fading import RicianFading, Waves
from heimdall_core.simulation.link_budget import (
    AGC_LIMIT_DBFS,
    DBM_TO_DBFS_DB,
    EIRP_DBM,
    EIRP_SIGMA_DB,
    FREQUENCIES_HZ,
    GAIN_RANGE_DB,
    HEARING_THRESHOLD_DB,
    MISSING_PROBABILITY,
    TRANSMITTER_PPM,
    median_snr_db,
    noise_dbm,
)
from heimdall_core.simulation.rendering import render_iq, stream_generator
from heimdall_core.simulation.shadow_map import ShadowMap
from heimdall_core.simulation.sites import EAST_KM, NORTH_KM, ORIGIN, OSCILLATOR_PPM_R, SITES

Float = NDArray[np.float64]

LEVEL_SECONDS: Final = FeatureSettings().segment_samples / FeatureSettings().sample_rate_hz
"""Time over which a fading level is averaged: one segment of the default settings."""

_EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)
_BLOCK_ROWS: Final = 1024
_DRAW, _RENDER, _WAVES = 1, 2, 5
"""Keys of the random streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What sets one world apart from another."""

    name: str
    """Sessions are called after it."""
    shadowing_sigma_db: float
    """Of the log-normal part that is drawn anew for each recording."""
    shadow_map: ShadowMap | None = None
    """The part that is fixed by place."""
    fading: RicianFading | None = None

    def median_snr_db(self, east_km: ArrayLike, north_km: ArrayLike, frequency_hz: ArrayLike) -> Float:
        """SNR at the mean EIRP with all that the place alone decides, (..., R)."""
        median = median_snr_db(east_km, north_km, frequency_hz)
        return median if self.shadow_map is None else median + self.shadow_map.at(east_km, north_km)

    def residual_moments_db(self) -> tuple[float, float]:
        """Mean and variance (dB, dB squared) of a level about the median and the transmitter's power.

        In world A they describe it completely; with fading its logarithm is not quite Gaussian.
        """
        mean, variance = self.fading.moments_db(LEVEL_SECONDS) if self.fading else (0.0, 0.0)
        return mean, variance + self.shadowing_sigma_db**2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldDraw:
    """Everything about N sessions but their samples. R receivers in the order of ``SITES``."""

    world: World
    row: NDArray[np.int64]
    """(N,) place in the endless sequence of the seed; unheard transmissions are left out."""
    east_km: Float
    north_km: Float
    frequency_hz: Float
    eirp_dbm: Float
    snr_db: Float
    """(N, R) true mean SNR in the channel, whether or not it was recorded; fading averaged over a segment."""
    fading_db: Float
    """(N, R) what fading has added to ``snr_db``; 0 without."""
    waves: Waves
    """(N, R, NUM_WAVES) scattered waves of the fading; (N, R, 0) without."""
    noise_dbm: Float
    """(N, R) mean noise power in the channel at the receiver's input."""
    is_recorded: NDArray[np.bool_]
    """(N, R)."""
    gain_db: Float
    """(N, R)."""
    carrier_offset_hz: Float
    """(N, R) where the carrier appears about the centre."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def floor_dbfs(self) -> Float:
        """(N, R) noise power in the channel as recorded."""
        return self.noise_dbm + self.gain_db + DBM_TO_DBFS_DB

    @property
    def truth_km(self) -> Float:
        """(N, 2) east, north of the transmitters."""
        return np.stack([self.east_km, self.north_km], axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that has one entry for each session, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "world"}

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "WorldDraw":
        """Some of the sessions."""
        return WorldDraw(world=self.world, **{name: a[index] for name, a in self.arrays().items()})


def draw_sessions(world: World, num_sessions: int, seed: int) -> WorldDraw:
    """The first ``num_sessions`` sessions of the seed; a larger number begins with the same ones.

    Worlds of one seed have the same transmitters.
    """
    parts: list[dict[str, NDArray[Any]]] = []
    while not parts or sum(len(part["row"]) for part in parts) < num_sessions:
        block = _draw_block(world, seed, len(parts))
        parts.append(block.take(np.asarray(block.is_recorded.any(axis=1))).arrays())
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return WorldDraw(world=world, **joined).take(slice(num_sessions))


def _draw_block(world: World, seed: int, block: int) -> WorldDraw:
    rng = stream_generator(seed, _DRAW, block)
    n, shape = _BLOCK_ROWS, (_BLOCK_ROWS, len(SITES))
    east, north = rng.uniform(*EAST_KM, n), rng.uniform(*NORTH_KM, n)
    frequency = rng.choice(FREQUENCIES_HZ, n)
    eirp = rng.normal(EIRP_DBM, EIRP_SIGMA_DB, n)
    shadowing = rng.normal(0.0, world.shadowing_sigma_db, shape)
    waves, fading = _draw_fading(world, seed, block)
    median = world.median_snr_db(east, north, frequency)
    snr = median + (eirp - EIRP_DBM)[:, np.newaxis] + shadowing + fading
    noise = noise_dbm(frequency)
    headroom = AGC_LIMIT_DBFS - DBM_TO_DBFS_DB - (snr + noise)
    ppm = TRANSMITTER_PPM * rng.standard_normal((n, 1)) - OSCILLATOR_PPM_R
    return WorldDraw(
        world=world,
        row=block * n + np.arange(n),
        east_km=east,
        north_km=north,
        frequency_hz=frequency,
        eirp_dbm=eirp,
        snr_db=snr,
        fading_db=fading,
        waves=waves,
        noise_dbm=noise,
        is_recorded=(rng.random(shape) >= MISSING_PROBABILITY) & (snr >= HEARING_THRESHOLD_DB),
        gain_db=np.minimum(rng.uniform(*GAIN_RANGE_DB, shape), headroom),
        carrier_offset_hz=ppm * 1e-6 * frequency[:, np.newaxis],
    )


def _draw_fading(world: World, seed: int, block: int) -> tuple[Waves, Float]:
    """Scattered waves (n, R, NUM_WAVES) and the mean level that they make, dB (n, R)."""
    shape = (_BLOCK_ROWS, len(SITES))
    if world.fading is None:
        return np.empty((*shape, 0), complex), np.zeros(shape)
    waves = world.fading.draw_waves(stream_generator(seed, _WAVES, block), shape)
    return waves, world.fading.mean_power_db(waves, LEVEL_SECONDS)


def render(
    draw: WorldDraw, index: int, *, seed: int, settings: FeatureSettings | None = None, num_segments: int = 1
) -> RecordedSession:
    """Session ``index`` of the draw as IQ; the same for equal seed, row and settings."""
    settings = settings or FeatureSettings()
    row, heard = int(draw.row[index]), np.flatnonzero(draw.is_recorded[index])
    floor_dbfs = draw.floor_dbfs[index, heard]
    num_samples = num_segments * settings.segment_samples
    samples = render_iq(
        stream_generator(seed, _RENDER, row),
        signal_dbfs=floor_dbfs + (draw.snr_db - draw.fading_db)[index, heard],
        floor_dbfs=floor_dbfs,
        offset_hz=draw.carrier_offset_hz[index, heard],
        num_samples=num_samples,
        settings=settings,
        path_gain=_path_gain(draw, index, heard, np.arange(num_samples) / settings.sample_rate_hz),
    )
    started_at = _EPOCH + timedelta(minutes=row)
    name = session_name(draw, index, seed)
    return RecordedSession(
        name=name,
        source=_source(draw, index, name),
        started_at=started_at,
        recordings=tuple(
            IqRecording(
                receiver=SITES[site].receiver,
                samples=samples[i],
                sample_rate_hz=settings.sample_rate_hz,
                center_frequency_hz=float(draw.frequency_hz[index]),
                started_at=started_at,
                noise_floor_dbfs=float(floor_dbfs[i]),
            )
            for i, site in enumerate(heard)
        ),
    )


def session_name(draw: WorldDraw, index: int, seed: int) -> str:
    """World, seed and row."""
    return f"{draw.world.name}-{seed}-{int(draw.row[index]):06d}"


def _path_gain(
    draw: WorldDraw, index: int, heard: NDArray[np.intp], seconds: Float
) -> NDArray[np.complex64] | None:
    if draw.world.fading is None:
        return None
    return draw.world.fading.gain(draw.waves[index, heard], seconds)


def _source(draw: WorldDraw, index: int, name: str) -> Source:
    latitude, longitude = to_degrees(draw.east_km[index], draw.north_km[index], origin=ORIGIN)
    return Source(
        name=name,
        frequency_hz=float(draw.frequency_hz[index]),
        latitude=float(latitude),
        longitude=float(longitude),
        error_margin_m=0.0,
        power_dbm=float(draw.eirp_dbm[index]),
    )


def simulate(
    world: World,
    num_sessions: int,
    seed: int,
    *,
    settings: FeatureSettings | None = None,
    num_segments: int = 1,
) -> Iterator[RecordedSession]:
    """Sessions of a world as IQ, one after another; equal arguments give equal bytes."""
    draw = draw_sessions(world, num_sessions, seed)
    for index in range(len(draw)):
        yield render(draw, index, seed=seed, settings=settings, num_segments=num_segments)
