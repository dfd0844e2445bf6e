"""The recording sessions of one split as tensors; the randomness of an item is keyed by (epoch, index)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest, Split
from heimdall_core.features import FeatureSet
from heimdall_core.training.augmentation import Augmentation, augment, draw
from heimdall_core.training.radio_map import Relocation

SPLITS: tuple[Split, ...] = ("train", "val", "test")
Key = tuple[int, int]
"""Epoch and index within the split."""


class Batch(NamedTuple):
    """B sessions with S segments in all (S = B in training)."""

    inputs: Tensor
    """(S, receivers, 128, 32) float32, scaled as ``heimdall_core.features.rows`` says."""
    item: Tensor
    """(S,) int64: the session of the batch, 0..B-1, that a segment belongs to."""
    target_km: Tensor
    """(B, 2) float32: true east and north of the origin, km."""
    indices: Tensor
    """(B,) int64: the session's index within the split."""


def require_splits(manifest: Manifest) -> None:
    """Raises DataError if the manifest has no session to train, validate or test on."""
    for split in SPLITS:
        if not manifest.of_split(split):
            raise _empty_split(split)


class HeimdallDataset(Dataset[Batch]):
    """One split of a feature set: in training one random segment per session, else all of them.

    Raises:
        DataError: the split has no session.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        split: Split,
        *,
        training: bool,
        seed: int = 0,
        augment: bool = True,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._features = feature_set
        self._sessions = np.asarray(feature_set.indices(split))
        self._training = training
        self._seed = seed
        self._augmentation = (augmentation or Augmentation()) if training and augment else None
        self.relocation: Relocation | None = None
        """Moves training items to other places."""
        if not len(self._sessions):
            raise _empty_split(split)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def num_segments(self) -> NDArray[np.int64]:
        """(N,): segments of each session of the split."""
        first = self._features.first_segment
        return np.asarray(first[self._sessions + 1] - first[self._sessions])

    @property
    def targets_km(self) -> NDArray[np.float64]:
        """(N, 2): true east and north of the origin."""
        return self._features.targets_km[self._sessions].astype(np.float64)

    def __getitem__(self, key: Key) -> Batch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """The batch of ``(epoch, index)`` keys, fetched in one go."""
        index_B = np.array([index for _, index in keys], dtype=np.int64)
        sessions_B = self._sessions[index_B]
        target_km = self._features.targets_km[sessions_B].astype(np.float32)
        if self._training:
            inputs, item_S = self._one_segment_each(keys, sessions_B, target_km)
        else:
            inputs, item_S = self._all_segments(sessions_B)
        return Batch(
            inputs=torch.from_numpy(inputs),
            item=torch.from_numpy(item_S),
            target_km=torch.from_numpy(target_km),
            indices=torch.from_numpy(index_B),
        )

    def _one_segment_each(
        self, keys: Sequence[Key], sessions_B: NDArray[np.int64], target_km: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One segment of each session; a session that moves gets another target too, in place."""
        draws = draw(self._seed, keys, self._features.inputs.shape[1])
        first = self._features.first_segment
        count_B = first[sessions_B + 1] - first[sessions_B]
        inputs = np.asarray(
            self._features.inputs[first[sessions_B] + (draws.segment * count_B).astype(np.int64)]
        )
        if self.relocation is not None:
            self.relocation.apply(inputs, target_km, keys, self._seed)
        if self._augmentation is not None:
            augment(inputs, draws, self._augmentation)
        return inputs, np.arange(len(keys))

    def _all_segments(self, sessions_B: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        first = self._features.first_segment
        ranges = [np.arange(first[s], first[s + 1]) for s in sessions_B]
        item_S = np.repeat(np.arange(len(ranges)), [len(r) for r in ranges])
        return np.asarray(self._features.inputs[np.concatenate(ranges)]), item_S


def _empty_split(split: Split) -> DataError:
    return DataError(
        f"the dataset has no session in its {split!r} split",
        code="empty_split",
        hint="Add approved recording sessions, or freeze a version with other split fractions.",
    )
