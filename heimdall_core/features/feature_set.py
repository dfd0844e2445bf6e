"""The features of a dataset version, memory-mapped."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import Split

INPUTS, META = "inputs.npy", "meta.json"
_SMALL_ARRAYS = ("first_segment", "targets_km", "positions_deg", "snr_db")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureSet:
    """N sessions of S segments in all, as the network reads them."""

    inputs: NDArray[np.float32]
    """(S, R, 128, 32), read-only, memory-mapped."""
    first_segment: NDArray[np.int64]
    """(N + 1,): session i owns segments ``first_segment[i]`` up to ``first_segment[i + 1]``."""
    targets_km: NDArray[np.float32]
    """(N, 2) true east, north in the local plane."""
    positions_deg: NDArray[np.float64]
    """(N, 2) true latitude, longitude."""
    snr_db: NDArray[np.float32]
    """(N, R) in-channel power over the noise floor, mean over segments; NaN where absent."""
    session_ids: tuple[str, ...]
    splits: tuple[Split, ...]
    was_cached: bool
    """Whether the features were there already."""

    def __len__(self) -> int:
        return len(self.session_ids)

    @property
    def num_receivers(self) -> int:
        """R."""
        return int(self.snr_db.shape[1])

    def indices(self, split: Split) -> NDArray[np.int64]:
        """The places of a split's sessions, ascending."""
        return np.flatnonzero(np.array([s == split for s in self.splits], bool)).astype(np.int64)

    def num_segments(self, index: int) -> int:
        """How many segments session ``index`` has."""
        return int(self.first_segment[index + 1] - self.first_segment[index])


def write_meta(
    folder: Path,
    *,
    session_ids: tuple[str, ...],
    splits: tuple[Split, ...],
    arrays: dict[str, NDArray[np.generic]],
) -> None:
    """Writes everything but the inputs."""
    for name in _SMALL_ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name])
    (folder / META).write_text(json.dumps({"session_ids": session_ids, "splits": splits}))


def open_feature_set(folder: Path, *, was_cached: bool) -> FeatureSet:
    """Maps the files of a finished folder."""
    meta = json.loads((folder / META).read_text())
    small = {name: np.load(folder / f"{name}.npy") for name in _SMALL_ARRAYS}
    return FeatureSet(
        inputs=np.load(folder / INPUTS, mmap_mode="r"),
        session_ids=tuple(meta["session_ids"]),
        splits=tuple(meta["splits"]),
        was_cached=was_cached,
        **small,
    )
