"""Which items come in which batch: pure functions of (seed, epoch)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heimdall_core.training.dataset import Key
from heimdall_core.training.randomness import Stream, generator


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every batch that one rank (0..num_ranks-1) takes; one rank takes the whole of it."""

    rank: int = 0
    num_ranks: int = 1

    def part(self, num_items: int) -> slice:
        """The rank's items of a batch; where none are left for it, the batch's first, which then weighs 0."""
        start, stop = self._bounds(num_items)
        return slice(start, stop) if start < stop else slice(0, 1)

    def weight(self, num_items: int) -> float:
        """The fraction of a batch that is this rank's; over all ranks they sum to 1."""
        start, stop = self._bounds(num_items)
        return (stop - start) / num_items

    def _bounds(self, num_items: int) -> tuple[int, int]:
        return self.rank * num_items // self.num_ranks, (self.rank + 1) * num_items // self.num_ranks


class EpochSampler:
    """Batches of ``(epoch, index)`` keys in an order that (seed, epoch) alone decides.

    ``offset`` batches are skipped once, when a run resumes in the middle of an epoch; the length stays
    that of the whole epoch. With a ``share`` each batch is cut down to the rank's part; ``batch_size`` is
    that of the whole.
    """

    def __init__(self, num_items: int, batch_size: int, *, seed: int, share: Share | None = None) -> None:
        self._num_items = num_items
        self._batch_size = batch_size
        self._seed = seed
        self._share = share or Share()
        self.epoch = 0
        self.offset = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._num_items / self._batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        offset, self.offset = self.offset, 0
        order = generator(Stream.ORDER, self._seed, self.epoch).permutation(self._num_items).tolist()
        for start in range(offset * self._batch_size, self._num_items, self._batch_size):
            batch = [(self.epoch, index) for index in order[start : start + self._batch_size]]
            yield batch[self._share.part(len(batch))]


class EvaluationSampler:
    """Every item once and in order, with a bounded number of segments in a batch."""

    def __init__(self, num_segments: NDArray[np.int64], *, max_segments: int = 256) -> None:
        self._batches = _fill(num_segments, max_segments)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Key]]:
        return iter([[(0, index) for index in batch] for batch in self._batches])


def _fill(num_segments: NDArray[np.int64], max_segments: int) -> list[list[int]]:
    batches: list[list[int]] = []
    room = 0
    for index, count in enumerate(num_segments.tolist()):
        if not batches or count > room:
            batches.append([])
            room = max_segments
        batches[-1].append(index)
        room -= count
    return batches
