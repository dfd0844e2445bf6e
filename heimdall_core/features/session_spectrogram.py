"""A recording session as the network sees it, in physical units: what the API hands out as a spectrogram."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.domain.manifest import FeatureSettings, Manifest, ManifestReceiver, ManifestRecording
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.features import rows
from heimdall_core.features.fetching import count_segments, fetch_session
from heimdall_core.features.filterbank import band_edges
from heimdall_core.features.frontend import SpectrogramFrontEnd

Float32 = NDArray[np.float32]
_DECIMALS: Final = 2


def describe_spectrogram(manifest: Manifest, segment: int, store: ObjectStore) -> dict[str, Any]:
    """One segment of the only session of ``manifest``, through the front end that training uses, as JSON.

    Raises:
        DataError: a recording cannot be read (``object_gone``, ``object_changed`` and others of
            ``fetching``), or is too short for this segment (``segment_not_found``).
        StorageUnavailable: the store did not answer.
    """
    (session,), settings = manifest.sessions, manifest.features
    num_segments = count_segments(session, settings)
    if segment >= num_segments:
        raise DataError(f"session {session.id} has {num_segments} segments", code="segment_not_found")
    planes, floors = _fetch(manifest, segment, store)
    with torch.inference_mode():
        rows_PFT = SpectrogramFrontEnd(settings).eval()(torch.from_numpy(planes), torch.from_numpy(floors))
    receivers = {receiver.name: receiver for receiver in manifest.receivers}
    return {
        "segment": segment,
        "num_segments": num_segments,
        **_axes(settings),
        "receivers": [
            _describe(receivers[recording.receiver], recording, float(floor), plane)
            for recording, floor, plane in zip(session.recordings, floors, rows_PFT.numpy(), strict=True)
        ],
    }


def _fetch(manifest: Manifest, segment: int, store: ObjectStore) -> tuple[NDArray[np.complex64], Float32]:
    """(receivers, segment_samples) and the known floors (receivers,), NaN where there is none."""
    (session,) = manifest.sessions
    places = {receiver.name: place for place, receiver in enumerate(manifest.receivers)}
    try:
        fetched = fetch_session(
            session, store=store, places=places, settings=manifest.features, num_segments=segment + 1
        )
    except NotFound as error:
        raise DataError(
            f"a recording of session {session.id} is catalogued, but gone from the object store: {error}",
            code="object_gone",
            hint="Restore the object, or import the recording again.",
        ) from error
    return np.ascontiguousarray(fetched.samples[:, segment]), fetched.noise_floor_dbfs


def _axes(settings: FeatureSettings) -> dict[str, Any]:
    """Where bands and frames lie, and how far the bands reach."""
    centres_hz = band_edges(settings.num_bands // 2, settings.sample_rate_hz / 2, settings.scale)[1:-1]
    middles = np.arange(settings.num_frames) * settings.hop + settings.n_fft / 2
    low_db, high_db = (limit * rows.DB_SCALE for limit in rows.BAND_RANGE)
    return {
        "features": asdict(settings),
        "segment_seconds": settings.segment_samples / settings.sample_rate_hz,
        "frequency_hz": _rounded(np.concatenate([-centres_hz[::-1], centres_hz])),
        "time_seconds": _rounded(middles / settings.sample_rate_hz, decimals=6),
        "min_db": low_db,
        "max_db": high_db,
    }


def _describe(
    receiver: ManifestReceiver, recording: ManifestRecording, known_floor_dbfs: float, plane_FT: Float32
) -> dict[str, Any]:
    """The rows of one receiver in dB and Hz; those of its position depend on a dataset's origin."""
    side = plane_FT[:, 0]
    return {
        "receiver": receiver.name,
        "latitude": receiver.latitude,
        "longitude": receiver.longitude,
        "altitude_m": receiver.altitude_m,
        "sample_rate_hz": recording.sample_rate_hz,
        "over_floor_db": _rounded(plane_FT[: rows.FIRST_SIDE_ROW] * rows.DB_SCALE),
        **_levels(side),
        "noise_floor_from": _floor_origin(recording, known_floor_dbfs),
    }


def _levels(side: Float32) -> Mapping[str, float]:
    """The rows that are one value for the whole segment."""
    return {
        "snr_db": round(float(side[rows.SNR_ROW]) * rows.DB_SCALE, _DECIMALS),
        "power_dbfs": round(float(side[rows.POWER_ROW]) * rows.DBFS_SCALE, _DECIMALS),
        "noise_floor_dbfs": round(float(side[rows.FLOOR_ROW]) * rows.DBFS_SCALE, _DECIMALS),
        "carrier_offset_hz": round(float(side[rows.OFFSET_ROW]) * rows.OFFSET_SCALE_KHZ * 1e3, _DECIMALS),
    }


def _floor_origin(
    recording: ManifestRecording, known_floor_dbfs: float
) -> Literal["stated", "recording", "segment"]:
    if recording.noise_floor_dbfs is not None:
        return "stated"
    return "segment" if math.isnan(known_floor_dbfs) else "recording"


def _rounded(values: NDArray[Any], *, decimals: int = _DECIMALS) -> Any:
    return np.round(values.astype(np.float64), decimals).tolist()
