"""Every random number of a training run, as a pure function of the seed and the place it is used at.

No generator's state is kept, so a resumed run draws what the uninterrupted one would have drawn.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What the numbers are for; streams are independent of one another."""

    ORDER = 1
    ITEM = 2
    NOISE = 3
    STEP = 4
    MAP = 5


def generator(stream: Stream, seed: int, *place: int) -> np.random.Generator:
    """The generator of one place: an epoch, or an epoch and an item."""
    return np.random.default_rng((int(stream), seed, len(place), *place))


def step_seed(seed: int, epoch: int, batch_index: int) -> int:
    """The seed that torch gets before a training step."""
    state = np.random.SeedSequence((int(Stream.STEP), seed, epoch, batch_index))
    return int(state.generate_state(1, np.uint64)[0] >> 1)
