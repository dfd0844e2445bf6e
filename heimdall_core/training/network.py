"""The network of a job: built for its dataset, saved and read back as weights with their construction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.spec import Backbone, ModelSpec, PointEstimate, TrainingSpec
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.backbone import start_pretrained
from heimdall_core.networks.heads import Covariance
from heimdall_core.networks.stem import train_stem
from heimdall_core.training.checkpoints import load_checkpoint

_SMALLEST_SCALE_KM = 0.01
_NET_PREFIX = "net."
"""Of the network's weights in the state of the module that trains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Construction:
    """The arguments that make a network of the same shape."""

    num_receivers: int
    backbone: Backbone
    covariance: Covariance
    origin: tuple[float, float]
    plane_scale_km: float
    receivers: tuple[str, ...] = ()
    """Their names, in the order of the channels; empty: a file of an earlier version does not say."""
    components: int = 1
    """Of the mixture that it predicts; 1: a Gaussian."""
    point_estimate: PointEstimate = "mean"
    """The position that stands for a mixture, or for what is fused with a radio map."""

    def build(
        self, *, pretrained: bool = False, pretrained_dir: Path | None = None, freeze_backbone: bool = False
    ) -> LocalizationNet:
        """A network with fresh weights; those of the backbone are published ones if ``pretrained``.

        Raises:
            TrainingError, InfrastructureError, DataError: as ``start_pretrained``.
        """
        net = LocalizationNet(
            self.num_receivers,
            self.backbone,
            self.covariance,
            components=self.components,
            point_estimate=self.point_estimate,
            origin=self.origin,
            plane_scale_km=self.plane_scale_km,
            freeze_backbone=freeze_backbone,
        )
        if pretrained:
            start_pretrained(net.backbone, self.backbone, pretrained_dir)
        if freeze_backbone:
            train_stem(net.backbone)
        return net


def construction_for(
    model: ModelSpec,
    *,
    num_receivers: int,
    origin: tuple[float, float],
    targets_km: NDArray[np.floating[Any]],
    receivers: Sequence[str] = (),
    scale_km: float | None = None,
) -> Construction:
    """The network that a specification asks for, scaled to the training targets (N, 2).

    Weights that were trained before bring their own ``scale_km``: their heads count in it.
    """
    return Construction(
        num_receivers=num_receivers,
        backbone=model.backbone,
        covariance=model.covariance,
        origin=origin,
        plane_scale_km=scale_km or plane_scale_km(targets_km),
        receivers=tuple(receivers),
        components=model.components,
        point_estimate=model.point_estimate,
    )


def plane_scale_km(targets_km: NDArray[np.floating[Any]]) -> float:
    """Root mean square of the targets' coordinates, to two digits: the heads then count in numbers near 1."""
    rms = float(np.sqrt(np.mean(np.square(targets_km, dtype=np.float64))))
    return float(f"{max(rms, _SMALLEST_SCALE_KM):.2g}")


def map_of(training: TrainingSpec) -> dict[str, Any] | None:
    """What the radio map of a fused network depends on besides the dataset; None: it is not fused."""
    if training.radio_map is None or not training.radio_map.fuse:
        return None
    return {"reach_m": training.radio_map.reach_m, "seed": training.seed}


def save_weights(path: Path, net: LocalizationNet, construction: Construction, **facts: Any) -> None:
    """Writes weights and construction; ``facts`` are plain values that travel along."""
    weights = {k: v.detach().cpu() for k, v in net.state_dict().items()}
    part = path.with_name(f".{path.name}.part")
    torch.save({"state_dict": weights, "construction": asdict(construction), "facts": facts}, part)
    part.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWeights:
    """The network's weights of a file: a ``best.ckpt``, or a durable checkpoint."""

    weights: dict[str, Tensor]
    construction: Construction
    epoch: int
    """Counted from 1."""
    dataset_digest: str | None = None
    """Of the dataset version that they were trained on; None: the file does not say."""
    fused_with: dict[str, Any] | None = None
    """What the radio map depends on that the network was fused with, besides the dataset; the map itself is
    not in the file. None: it was not fused."""

    def require_fit(self, wanted: Construction, name: str) -> None:
        """Raises DataError unless the weights belong to a network of the same construction."""
        found, expected = asdict(self.construction), asdict(wanted)
        if not (found["receivers"] and expected["receivers"]):
            del expected["receivers"]
        if differing := [key for key in expected if found[key] != expected[key]]:
            raise DataError(
                f"{name} belongs to another network or dataset: "
                + ", ".join(f"{key} is {found[key]}, not {expected[key]}" for key in differing),
                code="checkpoint_of_other_network",
                hint="Use the dataset version and the model settings that it was trained with.",
            )

    def require_map(self, training: TrainingSpec, name: str) -> None:
        """Raises DataError if the network was fused with a radio map, and not with that of ``training``."""
        if self.fused_with not in (None, map_of(training)):
            told = ", ".join(f"{key} {value}" for key, value in self.fused_with.items())
            raise DataError(
                f"{name} is of a network that was fused with a radio map, which is fitted anew: {told}",
                code="checkpoint_of_other_network",
                hint="Give training.radio_map and training.seed as it was trained with.",
            )

    def require_dataset(self, digest: str, name: str) -> None:
        """Raises DataError if the weights were trained on another dataset version."""
        if self.dataset_digest not in {None, digest}:
            raise DataError(
                f"{name} was trained on another dataset version: its digest is {self.dataset_digest}",
                code="checkpoint_of_other_network",
                hint="Use the dataset version that it was trained on.",
            )


def read_weights(path: Path) -> SavedWeights:
    """The weights that ``save_weights`` or a training's checkpoint holds.

    Raises:
        DataError: the file is damaged or something else.
    """
    content = load_checkpoint(path)
    stated = content.get("construction")
    if not isinstance(stated, dict):
        raise DataError(f"{path.name} does not say which network it is of", code="checkpoint_unreadable")
    is_training_state = "loops" in content
    prefix = _NET_PREFIX if is_training_state else ""
    return SavedWeights(
        weights={k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)},
        construction=_construction(stated),
        epoch=int(content["epoch"]) + 1 if is_training_state else int(content["facts"]["epoch"]),
        dataset_digest=content.get("facts", {}).get("dataset_digest"),
        fused_with=content.get("facts", {}).get("fused_with"),
    )


def _construction(stated: dict[str, Any]) -> Construction:
    tuples = {"origin": tuple(stated["origin"]), "receivers": tuple(stated.get("receivers", ()))}
    return Construction(**{**stated, **tuples})


def load_network(path: Path) -> LocalizationNet:
    """The network that ``save_weights`` wrote, calibration included; one that was fused, without its map.

    Raises:
        DataError: the file is damaged or something else.
    """
    saved = read_weights(path)
    net = saved.construction.build()
    net.load_state_dict(saved.weights)
    return net.eval()
