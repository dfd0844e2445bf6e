"""A training run as the pipeline assembles it, without features from IQ and without an export."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from heimdall_core.domain.ports import Checkpoint, ObjectStore
from heimdall_core.domain.spec import ModelSpec, ResourcesSpec, TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.training.callbacks import (
    BestWeights,
    DurableCheckpoints,
    FinishOnRequest,
    ProgressReporting,
)
from heimdall_core.training.checkpoints import CheckpointUploader, usable_checkpoint
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.distributed import fit_together, follow
from heimdall_core.training.divergence import StopWhenDiverged
from heimdall_core.training.logger import ReporterLogger
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import construction_for
from heimdall_core.training.ranks import Ranks, Seat, ranks_of
from heimdall_core.training.reporting import JobReporter
from heimdall_core.training.trainer import choose_device, create_trainer, fit


@dataclass
class Run:
    """What a run leaves."""

    module: LocalizationLightningModule
    trainer: pl.Trainer
    best: BestWeights
    folder: Path

    @property
    def weights(self) -> dict[str, Tensor]:
        return {k: v.clone() for k, v in self.module.net.state_dict().items()}


def train_once(
    features: FeatureSet,
    workspace: Path,
    *,
    reporter: Any,
    store: ObjectStore,
    training: TrainingSpec,
    model: ModelSpec | None = None,
    resume_from: Checkpoint | None = None,
    interval_seconds: float = 30.0,
    num_ranks: int = 1,
    on_start: Callable[[Ranks], None] = lambda _: None,
) -> Run:
    """Trains to the end, or raises what stopped it."""
    torch.set_num_threads(1)

    def follow_here(seat: Seat) -> None:
        follow(seat, seat.await_orders(), features, training, workspace)

    with ranks_of(num_ranks, workspace, follow_here) as ranks:
        on_start(ranks)
        return _lead(
            features,
            workspace,
            ranks,
            reporter=reporter,
            store=store,
            training=training,
            model=model,
            resume_from=resume_from,
            interval_seconds=interval_seconds,
        )


def _lead(
    features: FeatureSet,
    workspace: Path,
    ranks: Ranks,
    *,
    reporter: Any,
    store: ObjectStore,
    training: TrainingSpec,
    model: ModelSpec | None,
    resume_from: Checkpoint | None,
    interval_seconds: float,
) -> Run:
    pl.seed_everything(training.seed, verbose=False)
    job = JobReporter(reporter)
    data = HeimdallDataModule(features, training, share=ranks.share)
    construction = construction_for(
        model or ModelSpec(backbone="micro"),
        num_receivers=features.num_receivers,
        origin=(44.95, 8.1),
        targets_km=data.train_set.targets_km,
    )
    net = construction.build()
    net.set_sites(torch.linspace(-1.0, 1.0, 3 * features.num_receivers).reshape(-1, 3))
    module = LocalizationLightningModule(
        net, training, steps_per_epoch=data.steps_per_epoch, construction=construction
    )
    uploader = CheckpointUploader(store, "s3://models/job/checkpoints", job)
    best = BestWeights(training.keep)
    resources = ResourcesSpec(accelerator="cpu", devices=ranks.share.num_ranks)
    device = choose_device(training, resources)
    trainer = create_trainer(
        training=training,
        resources=resources,
        workspace=workspace,
        logger=ReporterLogger(job),
        callbacks=[
            ProgressReporting(job, started_at=0.0),
            FinishOnRequest(job),
            best,
            StopWhenDiverged(training, best, uploader),
            DurableCheckpoints(workspace / "checkpoints", uploader, job, interval_seconds=interval_seconds),
        ],
        num_batches=data.num_batches,
    )
    path = None
    if resume_from is not None:
        path = usable_checkpoint(resume_from, store, workspace / "resume.ckpt", module, job)
    try:
        if ranks.share.num_ranks == 1:
            fit(trainer, module, data, resume_path=path)
        else:
            fit_together(ranks, device, trainer, module, data, resume_path=path)
    finally:
        uploader.close(10.0)
    return Run(module, trainer, best, workspace / "checkpoints")


@pytest.fixture(scope="session")
def run_training() -> Callable[..., Run]:
    return train_once
