"""The trunk that joins the spectrograms and the levels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_TRUNK_WIDTH = 128
_POOLED_WIDTH = 16
_POOLED_DROP = 0.5
_POOLED_GATE = 0.1


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
