"""The stem, the first layer of a backbone: the only weights that belong to single receivers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STEM = "embeddings.patch_embeddings"
"""Its name in a ConvNeXt."""


def fit_stem(weight_OChw: Tensor, sources: Sequence[int | None]) -> Tensor:
    """The weight of a stem over other channels: (O, C, h, w) -> (O, R, h, w).

    Channel r is the channel ``sources[r]`` of ``weight_OChw``, or the mean of all of its channels where that
    is None. All are multiplied by C/R, so that an input that is the same in each channel gives as large a
    response as before.
    """
    mean_Ohw = weight_OChw.mean(dim=1)
    channels = [mean_Ohw if source is None else weight_OChw[:, source] for source in sources]
    return torch.stack(channels, dim=1) * (weight_OChw.shape[1] / len(sources))


def train_stem(backbone: nn.Module) -> None:
    """Lets the stem of a frozen backbone train: it must learn to tell receivers apart."""
    backbone.get_submodule(STEM).requires_grad_(requires_grad=True)
