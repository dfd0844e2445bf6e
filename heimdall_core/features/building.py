"""Streams a dataset's recordings through the front end into the files of a feature set."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.features import rows
from heimdall_core.features.assembly import assemble, receiver_positions
from heimdall_core.features.feature_set import INPUTS, write_meta
from heimdall_core.features.fetching import SessionSegments, count_segments, fetch_session
from heimdall_core.features.frontend import SpectrogramFrontEnd
from heimdall_core.recordings.geodesy import to_plane_km

#: Planes (one segment of one receiver) in a batch: 64 sessions of seven receivers.
_BATCH_PLANES = 448
#: Planes that the front end takes at once: their spectra stay in a core's cache.
_CHUNK_PLANES = 16
_FETCHED_AHEAD_PER_THREAD = 3

Float32 = NDArray[np.float32]


def build_features(
    manifest: Manifest, store: ObjectStore, folder: Path, *, num_fetchers: int
) -> Iterator[int]:
    """Writes the feature set of ``manifest`` into an empty folder, yielding the sessions done so far.

    Recordings are fetched ahead in threads while torch computes; the inputs are written in one pass, so
    that a full disk is an ``OSError`` and not a fault of a memory map.

    Raises:
        DataError: a recording is unusable or names a receiver that the manifest lacks.
    """
    places = _receiver_places(manifest)
    counts = [count_segments(session, manifest.features) for session in manifest.sessions]
    front_end = SpectrogramFrontEnd(manifest.features).eval()
    positions_R3 = receiver_positions(manifest.receivers, _origin(manifest))
    shape = (sum(counts), len(places), rows.NUM_ROWS, manifest.features.num_frames)
    snr_db: list[Float32] = []
    with (folder / INPUTS).open("wb") as file:
        _write_header(file, shape)
        for batch in _batches(_fetch_ahead(manifest, store, places, counts, num_fetchers)):
            inputs = _batch_inputs(batch, front_end, positions_R3)
            file.write(inputs.data)
            snr_db += _mean_snr_db(inputs, batch)
            yield len(snr_db)
        file.flush()
        os.fsync(file.fileno())
    _write_labels(manifest, folder, counts, snr_db)


def _receiver_places(manifest: Manifest) -> dict[str, int]:
    places = {receiver.name: place for place, receiver in enumerate(manifest.receivers)}
    heard = {recording.receiver for session in manifest.sessions for recording in session.recordings}
    if unknown := sorted(heard - places.keys()):
        raise DataError(f"recordings of receivers that are not listed: {unknown}", code="unknown_receiver")
    return places


def _origin(manifest: Manifest) -> tuple[float, float]:
    return manifest.origin_latitude, manifest.origin_longitude


def _fetch_ahead(
    manifest: Manifest, store: ObjectStore, places: dict[str, int], counts: list[int], num_fetchers: int
) -> Iterator[SessionSegments]:
    """The sessions in order, with a bounded number of fetches in flight."""
    pending: deque[Future[SessionSegments]] = deque()
    pool = ThreadPoolExecutor(num_fetchers, thread_name_prefix="fetch")
    try:
        for session, num_segments in zip(manifest.sessions, counts, strict=True):
            pending.append(
                pool.submit(
                    fetch_session,
                    session,
                    store=store,
                    places=places,
                    settings=manifest.features,
                    num_segments=num_segments,
                )
            )
            if len(pending) > num_fetchers * _FETCHED_AHEAD_PER_THREAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(sessions: Iterable[SessionSegments]) -> Iterator[list[SessionSegments]]:
    batch: list[SessionSegments] = []
    for session in sessions:
        batch.append(session)
        if sum(s.num_planes for s in batch) >= _BATCH_PLANES:
            yield batch
            batch = []
    if batch:
        yield batch


def _batch_inputs(
    batch: list[SessionSegments], front_end: SpectrogramFrontEnd, positions_R3: Float32
) -> Float32:
    """(segments of the batch, R, 128, T), sessions in order."""
    first = np.cumsum([0] + [s.num_segments for s in batch])
    planes = np.concatenate([s.samples.reshape(s.num_planes, -1) for s in batch])
    floors = np.concatenate([np.repeat(s.noise_floor_dbfs, s.num_segments) for s in batch])
    receiver_M = np.concatenate([np.repeat(s.receivers, s.num_segments) for s in batch])
    segment_M = np.concatenate(
        [
            start + np.tile(np.arange(s.num_segments), len(s.receivers))
            for s, start in zip(batch, first[:-1], strict=True)
        ]
    )
    with torch.inference_mode():
        chunks = [
            front_end(torch.from_numpy(planes[c]), torch.from_numpy(floors[c])) for c in _chunks(len(planes))
        ]
        rows_M = torch.cat(chunks).numpy()
    return assemble(rows_M, segment_M, receiver_M, positions_R3, int(first[-1]))


def _chunks(num_planes: int) -> list[slice]:
    return [slice(start, start + _CHUNK_PLANES) for start in range(0, num_planes, _CHUNK_PLANES)]


def _mean_snr_db(inputs: Float32, batch: list[SessionSegments]) -> list[Float32]:
    """Each session's SNR (R,), averaged over its segments; NaN where a receiver is absent."""
    snr_db = inputs[:, :, rows.SNR_ROW, 0] * rows.DB_SCALE
    snr_db[inputs[:, :, rows.PRESENCE_ROW, 0] == 0.0] = np.nan
    ends = np.cumsum([s.num_segments for s in batch])[:-1]
    return [session.mean(axis=0) for session in np.split(snr_db, ends)]


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write_labels(manifest: Manifest, folder: Path, counts: list[int], snr_db: list[Float32]) -> None:
    latitudes = [s.latitude for s in manifest.sessions]
    longitudes = [s.longitude for s in manifest.sessions]
    targets_km = np.stack(to_plane_km(latitudes, longitudes, origin=_origin(manifest)), axis=1)
    write_meta(
        folder,
        session_ids=tuple(s.id for s in manifest.sessions),
        splits=tuple(s.split for s in manifest.sessions),
        arrays={
            "first_segment": np.cumsum([0, *counts]).astype(np.int64),
            "targets_km": targets_km.astype(np.float32),
            "positions_deg": np.stack([latitudes, longitudes], axis=1).astype(np.float64),
            "snr_db": np.reshape(snr_db, (len(counts), len(manifest.receivers))).astype(np.float32),
        },
    )
