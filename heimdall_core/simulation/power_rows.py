"""Rows of a power table as IQ.

A row states what each receiver measured in its band: signal and noise together, in dB relative to
that receiver. With ``p`` that power and ``f`` the receiver's floor, the rendered noise has ``f``
in the channel and the signal ``f * (10 ** ((p - f) / 10) - 1)``, so that both together have ``p`` over ``f``.
At or below the floor there is noise alone, at the floor. Only powers over the floor are kept: the
table's band (6 kHz in POWDER) stands for the channel of the feature settings, whatever its width.
"""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.power_table import PowerRow, PowerTable
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source, utc_text
from heimdall_core.simulation.rendering import render_iq, stream_generator

TABLE_TO_DBFS_DB: Final = -12.0
"""dBFS of 0 dB of the table, the largest power it may state: 12 dB leave room for the peaks of noise."""

_RENDER = 3
"""Key of this module's random streams."""


def render_power_row(
    table: PowerTable,
    row: PowerRow,
    *,
    seed: int = 0,
    settings: FeatureSettings | None = None,
    num_segments: int = 1,
) -> RecordedSession:
    """The row as IQ of every receiver that took part; equal for equal seed, time, place and powers."""
    settings = settings or FeatureSettings()
    present = np.flatnonzero(np.isfinite(row.power_db))
    power_db, floor_db = row.power_db[present], table.noise_floor_db[present]
    samples = render_iq(
        stream_generator(seed, _RENDER, *_content_key(row)),
        signal_dbfs=signal_over_floor_db(power_db, floor_db) + floor_db + TABLE_TO_DBFS_DB,
        floor_dbfs=floor_db + TABLE_TO_DBFS_DB,
        offset_hz=np.zeros(len(present)),
        num_samples=num_segments * settings.segment_samples,
        settings=settings,
    )
    source = _source(row)
    return RecordedSession(
        name=f"{utc_text(row.time)} at {row.latitude:.8f}, {row.longitude:.8f}",
        source=source,
        started_at=row.time,
        recordings=tuple(
            IqRecording(
                receiver=table.receivers[receiver],
                samples=samples[i],
                sample_rate_hz=settings.sample_rate_hz,
                center_frequency_hz=source.frequency_hz,
                started_at=row.time,
                noise_floor_dbfs=float(floor_db[i] + TABLE_TO_DBFS_DB),
            )
            for i, receiver in enumerate(present)
        ),
    )


def signal_over_floor_db(power_db: NDArray[np.float64], floor_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """SNR of measurements that hold signal and noise, dB; -inf at or below the floor."""
    excess = np.maximum(10.0 ** ((power_db - floor_db) / 10.0) - 1.0, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(excess))


def _content_key(row: PowerRow) -> tuple[int, ...]:
    """From when and where, not from the line: a table in another order renders the same."""
    text = f"{utc_text(row.time)} {row.latitude!r} {row.longitude!r}"
    return tuple(hashlib.sha256(text.encode()).digest()[:16])


def _source(row: PowerRow) -> Source:
    return Source(
        name=row.source or f"{row.latitude:.8f}, {row.longitude:.8f}",
        frequency_hz=row.frequency_hz or 0.0,
        latitude=row.latitude,
        longitude=row.longitude,
    )
