"""What a network costs before anybody has trained it, by its size alone.

Measured by ``python -m benchmarks.training_costs``: seven receivers, float32, torch 2.13.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heimdall_core.domain.spec import Backbone


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one network, and of one session of a batch."""

    parameters: int
    activation_bytes: int
    """Kept of the forward pass of one session for the backward pass."""
    flops: int
    """Of that forward pass."""


COSTS: Final[Mapping[Backbone, Cost]] = {
    "micro": Cost(parameters=345145, activation_bytes=288479, flops=3900896),
    "atto": Cost(parameters=3582365, activation_bytes=4095759, flops=91286496),
    "femto": Cost(parameters=5044741, activation_bytes=4884239, flops=129466336),
    "pico": Cost(parameters=8752853, activation_bytes=6461199, flops=225880032),
    "nano": Cost(parameters=15185445, activation_bytes=8837143, flops=402464736),
    "tiny": Cost(parameters=28025845, activation_bytes=9009791, flops=731135968),
    "small": Cost(parameters=49660405, activation_bytes=14320511, flops=1421451232),
    "base": Cost(parameters=87778325, activation_bytes=19041151, flops=2511611872),
    "large": Cost(parameters=196454485, activation_bytes=28482431, flops=5616777184),
}
#: Weights, gradients and the two moments of AdamW, float32 each.
_BYTES_PER_PARAMETER: Final = 16
#: One receiver's spectrogram, 128 x 32 float32: as it came, augmented, on its way, and in the first layer.
_BYTES_PER_RECEIVER: Final = 4 * 128 * 32 * 4


def step_bytes(backbone: Backbone, batch_size: int, num_receivers: int) -> int:
    """What a training step holds at its fullest, without what the libraries themselves take."""
    cost = COSTS[backbone]
    per_session = cost.activation_bytes + num_receivers * _BYTES_PER_RECEIVER
    return _BYTES_PER_PARAMETER * cost.parameters + batch_size * per_session


#: Small networks do less arithmetic in a second: with this exponent micro, atto and tiny foretell each
#: other's epochs on a CPU within 15 %.
_EXPONENT: Final = 0.7


def relative_time(backbone: Backbone, other: Backbone) -> float:
    """How many times longer than with ``other`` a session takes."""
    ratio = COSTS[backbone].flops / COSTS[other].flops
    return float(ratio**_EXPONENT)
