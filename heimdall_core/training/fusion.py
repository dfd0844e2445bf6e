"""How far the answers of a trained network gain by a radio map: the exponent that validation wants."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from heimdall_core.features import rows
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.fusion import RadioFusion
from heimdall_core.training.datamodule import evaluation_loader
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.inference import PlaneGaussians, average_segments, fit_calibration
from heimdall_core.training.radio_map import RadioGrid

_EXPONENTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@torch.no_grad()
def fit_fusion(
    net: LocalizationNet,
    grid: RadioGrid,
    val_set: HeimdallDataset,
    on_progress: Callable[[float], None] = lambda _: None,
) -> float:
    """Fuses the network with a map of the training split, if the likelihood of the validation split rises.

    The network stays uncalibrated; both ways are compared as they would be calibrated, about their means.

    Returns:
        The exponent of the map's likelihood; 0: the network is better without.

    Raises:
        ValueError: the network predicts a mixture.
    """
    if net.components > 1:
        raise ValueError("a mixture is not fused with a radio map")
    net.fuse(None)
    if not np.isfinite(grid.mean_db).any():
        return 0.0
    net.set_calibration(1.0)
    answers = _Answers(net, val_set, on_progress)
    target_km = val_set.targets_km.astype(np.float64)
    own = answers.averaged(None)
    stretch = fit_calibration(own, target_km)
    best, least = None, _likelihood(own, target_km)
    for exponent in _EXPONENTS:
        fusion = _fusion(grid, exponent, stretch).to(answers.device)
        if (nll := _likelihood(answers.averaged(fusion), target_km)) < least:
            best, least = fusion, nll
    net.fuse(best)
    return 0.0 if best is None else best.exponent


def _likelihood(prediction: PlaneGaussians, target_km: NDArray[np.float64]) -> float:
    """Mean NLL, calibrated."""
    return float(prediction.spread(fit_calibration(prediction, target_km)).nll(target_km).mean())


def _fusion(grid: RadioGrid, exponent: float, stretch: float) -> RadioFusion:
    return RadioFusion(
        cells_km=torch.from_numpy(grid.cells_km),
        cell_km=grid.cell_km,
        mean_db=torch.from_numpy(grid.mean_db),
        sigma_db=torch.from_numpy(grid.sigma_db),
        exponent=exponent,
        stretch=stretch,
    )


class _Answers:
    """What a network says of the segments of sessions, to be fused in several ways."""

    def __init__(
        self, net: LocalizationNet, dataset: HeimdallDataset, on_progress: Callable[[float], None]
    ) -> None:
        net.eval()
        self.device = next(net.parameters()).device
        self._on_progress = on_progress
        self._parts = []
        loader = evaluation_loader(dataset)
        for number, batch in enumerate(loader):
            on_progress(number / len(loader))
            inputs = batch.inputs.to(self.device)
            side = inputs[:, :, rows.FIRST_SIDE_ROW :].mean(-1)
            self._parts.append((side, net.plane(inputs), batch.item.to(self.device), len(batch.indices)))

    def averaged(self, fusion: RadioFusion | None) -> PlaneGaussians:
        """Of each session."""
        found = []
        for side, plane, item, count in self._parts:
            self._on_progress(1.0)
            found.append(average_segments(plane if fusion is None else fusion(side, plane), item, count))
        return PlaneGaussians.concatenate(found)
