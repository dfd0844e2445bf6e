"""Simulated sessions straight into feature sets: no object store, no import, as many processes as cores."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.folder import bench_folder, key_of
from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver, Split
from heimdall_core.features import FeatureSet, SpectrogramFrontEnd, rows
from heimdall_core.features.assembly import assemble, receiver_positions
from heimdall_core.features.feature_set import INPUTS, META, open_feature_set, write_meta
from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.recordings.session import ReceiverSite, RecordedSession

_CHUNK_SESSIONS = 250
_SESSIONS_AT_ONCE = 8
_SESSIONS_COMPARED = 16
#: Batches of another size round otherwise.
_SAME = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSource:
    """N sessions that can be rendered in any order.

    Args:
        name: of the features' folder.
        facts: all that the sessions depend on.
        num_sessions: N.
        render: (start, stop) -> those sessions; picklable.
        receivers: in the order of the channels.
        origin: latitude, longitude of the local plane.
    """

    name: str
    facts: dict[str, object]
    num_sessions: int
    render: Callable[[int, int], Iterable[RecordedSession]]
    receivers: tuple[ManifestReceiver, ...]
    origin: tuple[float, float]

    def features(self) -> FeatureSet:
        """Rendered once; all in the train split."""
        folder = bench_folder() / "features" / f"{self.name}-{key_of(self.facts)}"
        if not (folder / META).exists() or not self._is_current(open_feature_set(folder, was_cached=True)):
            self._write(folder)
        return open_feature_set(folder, was_cached=True)

    def _is_current(self, kept: FeatureSet) -> bool:
        """Whether this code still makes the same features: a few sessions are rendered again."""
        fresh, _ = _render_chunk(self, 0, _SESSIONS_COMPARED)
        return np.allclose(kept.inputs[:_SESSIONS_COMPARED], fresh, atol=_SAME)

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / META).unlink(missing_ok=True)
        shape = (self.num_sessions, len(self.receivers), rows.NUM_ROWS, FeatureSettings().num_frames)
        inputs = np.lib.format.open_memmap(folder / INPUTS, "w+", np.float32, shape)
        starts = range(0, self.num_sessions, _CHUNK_SESSIONS)
        positions: list[tuple[float, float]] = []
        with ProcessPoolExecutor(
            os.cpu_count(), mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            stops = [min(start + _CHUNK_SESSIONS, len(inputs)) for start in starts]
            jobs = [pool.submit(_render_chunk, self, *chunk) for chunk in zip(starts, stops, strict=True)]
            for start, job in zip(starts, jobs, strict=True):
                chunk, places = job.result()
                inputs[start : start + len(chunk)] = chunk
                positions += places
                print(f"\r{self.name}: {len(positions)} of {len(inputs)} sessions", end="", flush=True)
        print()
        inputs.flush()
        self._write_labels(folder, inputs, np.array(positions))

    def _write_labels(
        self, folder: Path, inputs: NDArray[np.float32], positions_deg: NDArray[np.float64]
    ) -> None:
        snr_db = inputs[:, :, rows.SNR_ROW, 0] * rows.DB_SCALE
        snr_db[inputs[:, :, rows.PRESENCE_ROW, 0] == 0.0] = np.nan
        targets_km = np.stack(to_plane_km(*positions_deg.T, origin=self.origin), axis=1)
        write_meta(
            folder,
            session_ids=tuple(f"{self.name}-{i}" for i in range(len(inputs))),
            splits=("train",) * len(inputs),
            arrays={
                "first_segment": np.arange(len(inputs) + 1),
                "targets_km": targets_km.astype(np.float32),
                "positions_deg": positions_deg,
                "snr_db": snr_db.astype(np.float32),
            },
        )


def manifest_receivers(sites: Sequence[ReceiverSite]) -> tuple[ManifestReceiver, ...]:
    """The same places as a manifest has them."""
    return tuple(
        ManifestReceiver(
            name=s.name, latitude=s.latitude, longitude=s.longitude, altitude_m=s.altitude_m or 0.0
        )
        for s in sites
    )


def with_splits(features: FeatureSet, splits: Sequence[Split]) -> FeatureSet:
    """The same features, split otherwise."""
    return replace(features, splits=tuple(splits))


def _render_chunk(
    source: SessionSource, start: int, stop: int
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    front_end = SpectrogramFrontEnd(FeatureSettings()).eval()
    places = {receiver.name: place for place, receiver in enumerate(source.receivers)}
    positions_R3 = receiver_positions(source.receivers, source.origin)
    parts, positions = [], []
    for batch in _batches(source.render(start, stop)):
        parts.append(_features_of(batch, front_end, places, positions_R3))
        positions += [(s.source.latitude, s.source.longitude) for s in batch]
    return np.concatenate(parts), positions


def _batches(sessions: Iterable[RecordedSession]) -> Iterator[list[RecordedSession]]:
    batch: list[RecordedSession] = []
    for session in sessions:
        batch.append(session)
        if len(batch) == _SESSIONS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _features_of(
    batch: list[RecordedSession],
    front_end: SpectrogramFrontEnd,
    places: dict[str, int],
    positions_R3: NDArray[np.float32],
) -> NDArray[np.float32]:
    heard = [(i, recording) for i, session in enumerate(batch) for recording in session.recordings]
    samples = np.stack([recording.samples for _, recording in heard])
    floors = np.array([r.noise_floor_dbfs for _, r in heard], np.float32)
    with torch.inference_mode():
        planes = front_end(torch.from_numpy(samples), torch.from_numpy(floors)).numpy()
    session_M = np.array([i for i, _ in heard])
    receiver_M = np.array([places[r.receiver.name] for _, r in heard])
    return assemble(planes, session_M, receiver_M, positions_R3, len(batch))
