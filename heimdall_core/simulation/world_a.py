"""World A: independent log-normal shadowing, so that the best possible estimate can be computed.

A transmitter lies anywhere in the box with the same probability. Each receiver gets
EIRP - Hata suburban loss + shadowing (sigma 8 dB, independent) over a noise that is fixed by site
and band; it records the transmission where that SNR reaches ``HEARING_THRESHOLD_DB`` and it does not
happen to be off (p = 0.1). A transmission that nobody records makes no session. Gain, oscillator
errors, speech and noise say nothing about the position.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.geodesy import to_degrees
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source
from heimdall_core.simulation.propagation import (
    effective_height_m,
    hata_suburban_loss_db,
    noise_power_dbm,
)
from heimdall_core.simulation.rendering import render_iq, stream_generator
from heimdall_core.simulation.sites import (
    ALTITUDE_R,
    EAST_KM,
    EAST_R,
    NORTH_KM,
    NORTH_R,
    ORIGIN,
    OSCILLATOR_PPM_R,
    SITES,
)

Float = NDArray[np.float64]

FREQUENCIES_HZ: Final = (145.5e6, 433.5e6)
EIRP_DBM: Final = 40.0
EIRP_SIGMA_DB: Final = 5.0
SHADOWING_SIGMA_DB: Final = 8.0
MISSING_PROBABILITY: Final = 0.1
HEARING_THRESHOLD_DB: Final = 0.0
"""Mean SNR in the channel below which a receiver's squelch stays shut."""
NOISE_FIGURE_DB: Final = 6.0
NOISE_BANDWIDTH_HZ: Final = 10_000.0
"""The channel that all powers and SNRs of this world refer to: the default of ``FeatureSettings``."""
TERRAIN_M: Final = 230.0
"""Mean altitude of the box (the Po plain and its hills)."""
MAST_M: Final = 10.0
TRANSMITTER_HEIGHT_M: Final = 10.0
"""A roof aerial, the upper end of Hata's range; 5.5 of 7 receivers then hear a transmission on average."""
TRANSMITTER_PPM: Final = 1.0
GAIN_RANGE_DB: Final = (-20.0, 20.0)
DBM_TO_DBFS_DB: Final = 50.0
"""Level of 0 dBm at gain 0; noise then lies near -75 dBFS."""
AGC_LIMIT_DBFS: Final = -6.0
"""A gain that would lift the signal above it is reduced, as automatic control does."""

_EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)
_BLOCK_ROWS: Final = 1024
_DRAW, _RENDER = 1, 2
"""Keys of the two random streams."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldADraw:
    """Everything about N sessions but their samples. R receivers in the order of ``SITES``."""

    row: NDArray[np.int64]
    """(N,) place in the endless sequence of the seed; unheard transmissions are left out."""
    east_km: Float
    north_km: Float
    frequency_hz: Float
    eirp_dbm: Float
    snr_db: Float
    """(N, R) true mean SNR in the channel, whether or not it was recorded."""
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

    def take(self, index: NDArray[np.bool_] | slice) -> "WorldADraw":
        """Some of the sessions."""
        return WorldADraw(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def median_snr_db(east_km: ArrayLike, north_km: ArrayLike, frequency_hz: ArrayLike) -> Float:
    """SNR in the channel without shadowing at the mean EIRP, (..., R): what the exact bound integrates."""
    east, north, frequency = (
        np.asarray(v, float)[..., np.newaxis] for v in (east_km, north_km, frequency_hz)
    )
    loss_db = hata_suburban_loss_db(
        np.hypot(east - EAST_R, north - NORTH_R),
        frequency_hz=frequency,
        base_height_m=effective_height_m(ALTITUDE_R, terrain_m=TERRAIN_M, mast_m=MAST_M),
        mobile_height_m=TRANSMITTER_HEIGHT_M,
    )
    return EIRP_DBM - loss_db - noise_dbm(frequency_hz)


def noise_dbm(frequency_hz: ArrayLike) -> Float:
    """Mean noise power of each receiver in the channel, (..., R)."""
    levels = [
        noise_power_dbm(
            site.environment,
            frequency_hz=frequency_hz,
            bandwidth_hz=NOISE_BANDWIDTH_HZ,
            noise_figure_db=NOISE_FIGURE_DB,
        )
        for site in SITES
    ]
    return np.stack(levels, axis=-1)


def draw_world_a(num_sessions: int, seed: int) -> WorldADraw:
    """The first ``num_sessions`` sessions of the seed; a larger number begins with the same ones."""
    blocks: list[WorldADraw] = []
    while sum(map(len, blocks)) < num_sessions:
        block = _draw_block(seed, len(blocks))
        blocks.append(block.take(np.asarray(block.is_recorded.any(axis=1))))
    if not blocks:
        return _draw_block(seed, 0).take(slice(0))
    joined = {f.name: np.concatenate([getattr(b, f.name) for b in blocks]) for f in fields(WorldADraw)}
    return WorldADraw(**joined).take(slice(num_sessions))


def _draw_block(seed: int, block: int) -> WorldADraw:
    rng = stream_generator(seed, _DRAW, block)
    n, shape = _BLOCK_ROWS, (_BLOCK_ROWS, len(SITES))
    east, north = rng.uniform(*EAST_KM, n), rng.uniform(*NORTH_KM, n)
    frequency = rng.choice(FREQUENCIES_HZ, n)
    eirp = rng.normal(EIRP_DBM, EIRP_SIGMA_DB, n)
    shadowing = rng.normal(0.0, SHADOWING_SIGMA_DB, shape)
    snr = median_snr_db(east, north, frequency) + (eirp - EIRP_DBM)[:, np.newaxis] + shadowing
    noise = noise_dbm(frequency)
    headroom = AGC_LIMIT_DBFS - DBM_TO_DBFS_DB - (snr + noise)
    ppm = TRANSMITTER_PPM * rng.standard_normal((n, 1)) - OSCILLATOR_PPM_R
    return WorldADraw(
        row=block * n + np.arange(n),
        east_km=east,
        north_km=north,
        frequency_hz=frequency,
        eirp_dbm=eirp,
        snr_db=snr,
        noise_dbm=noise,
        is_recorded=(rng.random(shape) >= MISSING_PROBABILITY) & (snr >= HEARING_THRESHOLD_DB),
        gain_db=np.minimum(rng.uniform(*GAIN_RANGE_DB, shape), headroom),
        carrier_offset_hz=ppm * 1e-6 * frequency[:, np.newaxis],
    )


def render(
    draw: WorldADraw, index: int, *, seed: int, settings: FeatureSettings | None = None, num_segments: int = 1
) -> RecordedSession:
    """Session ``index`` of the draw as IQ; the same for equal seed, row and settings."""
    settings = settings or FeatureSettings()
    row, heard = int(draw.row[index]), np.flatnonzero(draw.is_recorded[index])
    floor_dbfs = draw.floor_dbfs[index, heard]
    samples = render_iq(
        stream_generator(seed, _RENDER, row),
        signal_dbfs=floor_dbfs + draw.snr_db[index, heard],
        floor_dbfs=floor_dbfs,
        offset_hz=draw.carrier_offset_hz[index, heard],
        num_samples=num_segments * settings.segment_samples,
        settings=settings,
    )
    started_at = _EPOCH + timedelta(minutes=row)
    return RecordedSession(
        name=f"world-a-{seed}-{row:06d}",
        source=_source(draw, index, seed),
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


def _source(draw: WorldADraw, index: int, seed: int) -> Source:
    latitude, longitude = to_degrees(draw.east_km[index], draw.north_km[index], origin=ORIGIN)
    return Source(
        name=f"world-a-{seed}-{int(draw.row[index]):06d}",
        frequency_hz=float(draw.frequency_hz[index]),
        latitude=float(latitude),
        longitude=float(longitude),
        error_margin_m=0.0,
        power_dbm=float(draw.eirp_dbm[index]),
    )


def simulate_sessions(
    num_sessions: int, seed: int, *, settings: FeatureSettings | None = None, num_segments: int = 1
) -> Iterator[RecordedSession]:
    """Sessions of world A as IQ, one after another; equal arguments give equal bytes."""
    draw = draw_world_a(num_sessions, seed)
    for index in range(len(draw)):
        yield render(draw, index, seed=seed, settings=settings, num_segments=num_segments)
