"""The way of the levels past the backbone, and the trunk that joins both."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from heimdall_core.features import rows

_LEVEL_WIDTH = 128
_LEVEL_BLOCKS = 2
_TRUNK_WIDTH = 128
_POOLED_WIDTH = 16
_POOLED_DROP = 0.5
_POOLED_GATE = 0.1


class ResidualBlock(nn.Module):
    """Pre-norm two-layer perceptron added to its input: (B, width) -> (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adds what the layers make of ``x``."""
        return x + self.layers(x)


class LevelEncoder(nn.Module):
    """Side rows 120-127, averaged over time, to an embedding: (B, R, 128, 32) -> (B, width)."""

    def __init__(self, num_receivers: int, width: int = _LEVEL_WIDTH) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Linear(num_receivers * rows.NUM_SIDE_ROWS, width),
            *(ResidualBlock(width) for _ in range(_LEVEL_BLOCKS)),
            nn.LayerNorm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Reads nothing but the side rows."""
        return self.layers(x[:, :, rows.FIRST_SIDE_ROW :].mean(-1).flatten(1))


class Trunk(nn.Module):
    """Pooled spectrogram features and level embedding to what the heads share: (B, width).

    A spectrogram identifies its training session long before it says anything about place. So its features
    pass a narrow gate, and in training half of the sessions are answered without them (stochastic depth).
    """

    def __init__(self, pooled_width: int, level_width: int, width: int = _TRUNK_WIDTH) -> None:
        super().__init__()
        self.width = width
        self.pooled = nn.Linear(pooled_width, _POOLED_WIDTH)
        self.gate = nn.Parameter(torch.tensor(_POOLED_GATE))
        self.layers = nn.Sequential(nn.Linear(_POOLED_WIDTH + level_width, width), nn.GELU())

    def forward(self, pooled: Tensor, levels: Tensor) -> Tensor:
        """(B, pooled_width) and (B, level_width) -> (B, width)."""
        kept = functional.dropout(torch.ones_like(pooled[:, :1]), _POOLED_DROP, self.training)
        return self.layers(torch.cat([self.pooled(pooled) * self.gate * kept, levels], dim=1))
