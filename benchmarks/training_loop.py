"""What the service adds to a training: ``python -m benchmarks.training_loop [--backbone micro]``.

Lightning with every callback of a job (progress, best weights, durable checkpoints uploaded to a folder,
MLflow on a database file, reports over a pipe to another process) against a bare PyTorch loop: same network,
loader, optimizer, clipping and validation, in turns in one process, after one of each to warm up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import lightning.pytorch as pl
import numpy as np
import torch

from benchmarks.sites import receiver_sites
from benchmarks.worlds import Sizes, world_features
from heimdall_core.domain.spec import ModelSpec, ResourcesSpec, TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.networks import GaussianNLLLoss
from heimdall_core.simulation.sites import ORIGIN
from heimdall_core.storage.folder import FolderStore
from heimdall_core.tracking import MLflowTracker, TrackingTarget
from heimdall_core.training.callbacks import (
    BestWeights,
    DurableCheckpoints,
    FinishOnRequest,
    ProgressReporting,
)
from heimdall_core.training.checkpoints import CheckpointUploader
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.inference import predict
from heimdall_core.training.logger import ReporterLogger
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import construction_for
from heimdall_core.training.reporting import JobReporter
from heimdall_core.training.trainer import create_trainer, fit
from worker.pipe_reporter import PipeReporter

_CHECKPOINT_SECONDS = 30.0


class _Case:
    """One network on one feature set, trained either way from the same weights."""

    def __init__(self, features: FeatureSet, options: argparse.Namespace, folder: Path) -> None:
        self._tracking = TrackingTarget(uri=f"sqlite:///{folder}/mlflow.db", experiment="benchmark")
        self._training = TrainingSpec(
            epochs=options.epochs,
            batch_size=options.batch_size,
            precision="fp32",
            early_stopping_patience=None,
        )
        self._model = ModelSpec(backbone=options.backbone)
        self._data = HeimdallDataModule(features, self._training)
        self.num_sessions = options.epochs * len(self._data.train_set)

    def _module(self) -> LocalizationLightningModule:
        pl.seed_everything(0, verbose=False)
        data = self._data
        construction = construction_for(
            self._model,
            num_receivers=data.feature_set.num_receivers,
            origin=ORIGIN,
            targets_km=data.train_set.targets_km,
        )
        net = construction.build()
        net.set_sites(receiver_sites(data.feature_set))
        return LocalizationLightningModule(
            net,
            self._training,
            steps_per_epoch=data.steps_per_epoch,
            construction=construction,
        )

    def bare(self) -> float:
        """Seconds of a plain loop."""
        module, data = self._module(), self._data
        net, loss = module.net, GaussianNLLLoss(unit_km=module.net.plane_scale_km)
        configured = module.configure_optimizers()
        optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        loader = data.train_dataloader()
        began = time.perf_counter()
        for epoch in range(self._training.epochs):
            loader.sampler.set_epoch(epoch)
            net.train()
            for batch in loader:
                mean_km, sigma_km, correlation = net.plane(batch.inputs)
                value = loss(mean_km, sigma_km, batch.target_km, correlation)
                optimizer.zero_grad()
                value.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), self._training.gradient_clip or np.inf)
                optimizer.step()
                schedule.step()
            predict(net, data.val_set).nll(data.val_set.targets_km)
        return time.perf_counter() - began

    def service(self) -> float:
        """Seconds of a job's training, until its last checkpoint is durable."""
        module, data = self._module(), self._data
        with tempfile.TemporaryDirectory() as name, _Listener() as descriptor:
            folder = Path(name)
            reporter = JobReporter(PipeReporter(descriptor))
            tracker = MLflowTracker(self._tracking, run_name="benchmark", tags={})
            tracker.log_params({"epochs": self._training.epochs})
            uploader = CheckpointUploader(FolderStore(folder / "s3"), "s3://models/run", reporter)
            checkpoints = DurableCheckpoints(
                folder / "checkpoints", uploader, reporter, interval_seconds=_CHECKPOINT_SECONDS
            )
            trainer = create_trainer(
                training=self._training,
                resources=ResourcesSpec(accelerator="cpu"),
                workspace=folder,
                logger=ReporterLogger(reporter, tracker),
                callbacks=[
                    ProgressReporting(reporter, started_at=time.monotonic()),
                    FinishOnRequest(reporter),
                    BestWeights(),
                    checkpoints,
                ],
                num_batches=data.num_batches,
            )
            began = time.perf_counter()
            fit(trainer, module, data)
            seconds = time.perf_counter() - began
            uploader.close(30.0)
            tracker.end("FINISHED")
            tracker.close()
        return seconds


class _Listener:
    """A process that reads what the trainer says, as a worker does."""

    def __enter__(self) -> int:
        self._process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def main() -> int:
    """Prints the ratio of samples/s, a line for each round, and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_loop", description=__doc__)
    parser.add_argument("--backbone", default="micro")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    features = world_features(Sizes(train=options.sessions, val=200, test=200))
    with tempfile.TemporaryDirectory() as folder:
        return _compare(_Case(features, options, Path(folder)), options)


def _compare(case: _Case, options: argparse.Namespace) -> int:
    case.bare()
    case.service()
    bare, service = [], []
    for number in range(options.rounds):
        order: list[tuple[list[float], Callable[[], float]]] = [(bare, case.bare), (service, case.service)]
        for seconds, run in order if number % 2 else reversed(order):
            seconds.append(run())
        print(f"round {number + 1}: bare {bare[-1]:.2f} s, service {service[-1]:.2f} s", flush=True)
    ratios = [b / s for b, s in zip(bare, service, strict=True)]
    speeds = [case.num_sessions / median(x) for x in (bare, service)]
    print(
        f"{options.backbone}, batch {options.batch_size}, {os.cpu_count()} cores: "
        f"bare {speeds[0]:.0f}, service {speeds[1]:.0f} samples/s; ratio {median(ratios):.3f} "
        f"(rounds {min(ratios):.3f} to {max(ratios):.3f})"
    )
    print(json.dumps({"backbone": options.backbone, "ratio": median(ratios), "ratios": ratios}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
