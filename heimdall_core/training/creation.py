"""The module that a training trains: its network, with the weights that seed and specification decide."""

from pathlib import Path

import lightning.pytorch as pl
import torch

from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.spec import TrainJobSpec
from heimdall_core.features.assembly import receiver_positions
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import SavedWeights, construction_for
from heimdall_core.training.reporting import JobReporter
from heimdall_core.training.warm_start import WarmStart, start_from


def create_module(
    spec: TrainJobSpec,
    manifest: Manifest,
    data: HeimdallDataModule,
    *,
    saved: SavedWeights | None,
    plane_scale_km: float | None,
    pretrained_dir: Path | None,
) -> tuple[LocalizationLightningModule, WarmStart | None]:
    """The module, scaled to the training split, and how it starts from ``saved`` if it does.

    Raises:
        DataError: the weights to start from are damaged or cannot fit.
        InfrastructureError: published weights cannot be fetched.
    """
    pl.seed_everything(spec.training.seed, verbose=False)
    origin = (manifest.origin_latitude, manifest.origin_longitude)
    construction = construction_for(
        spec.model,
        num_receivers=len(manifest.receivers),
        receivers=[receiver.name for receiver in manifest.receivers],
        origin=origin,
        targets_km=data.train_set.targets_km,
        scale_km=plane_scale_km or (saved.construction.plane_scale_km if saved else None),
    )
    net = construction.build(
        pretrained=spec.model.pretrained,
        pretrained_dir=pretrained_dir,
        freeze_backbone=spec.model.freeze_backbone,
    )
    net.set_sites(torch.from_numpy(receiver_positions(manifest.receivers, origin)))
    start = None if saved is None else start_from(net, saved, construction)
    module = LocalizationLightningModule(
        net, spec.training, steps_per_epoch=data.steps_per_epoch, construction=construction
    )
    return module, start


def tell_start(reporter: JobReporter, spec: TrainJobSpec, start: WarmStart) -> None:
    """Leaves a line in the job's history."""
    reporter.event(
        "warm_started",
        model=spec.init_from.name if spec.init_from else None,
        version=spec.init_from.version if spec.init_from else None,
        receivers_new=list(start.receivers_new),
        receivers_gone=list(start.receivers_gone),
        origin_shift_km=round(start.origin_shift_km, 3),
    )
