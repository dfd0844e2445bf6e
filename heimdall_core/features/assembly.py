"""Receivers side by side: the ``(receivers, 128, 32)`` input of a session."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import ManifestReceiver
from heimdall_core.features import rows
from heimdall_core.recordings.geodesy import to_plane_km

Float32 = NDArray[np.float32]


def receiver_positions(receivers: Sequence[ManifestReceiver], origin: tuple[float, float]) -> Float32:
    """East, north (100 km) and altitude (km) of each receiver, scaled as rows 125-127: (R, 3)."""
    east_km, north_km = to_plane_km(
        [r.latitude for r in receivers], [r.longitude for r in receivers], origin=origin
    )
    altitude_km = np.array([r.altitude_m for r in receivers]) / 1e3
    scaled = [east_km / rows.POSITION_SCALE_KM, north_km / rows.POSITION_SCALE_KM, altitude_km]
    return np.stack(scaled, axis=1).astype(np.float32)


def assemble(
    rows_M: Float32,
    segment_M: NDArray[np.int64],
    receiver_M: NDArray[np.int64],
    positions_R3: Float32,
    num_segments: int,
) -> Float32:
    """Puts M single-receiver planes (M, 128, T) into their places: (num_segments, R, 128, T).

    An absent receiver stays a plane of zeros, presence and position included.
    """
    inputs = np.zeros((num_segments, len(positions_R3), *rows_M.shape[1:]), np.float32)
    inputs[segment_M, receiver_M] = rows_M
    inputs[segment_M, receiver_M, rows.POSITION_ROWS] = positions_R3[receiver_M][:, :, None]
    return inputs
