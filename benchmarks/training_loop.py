"""What the service adds to a training: ``python -m benchmarks.training_loop [--backbone micro]``.

Lightning with every callback of a job (progress, curves, best weights, watch for divergence, checkpoints
every epoch that are uploaded to a folder when due, MLflow on a database file, reports over a pipe to another
process, a thread that watches for the worker's word) against a bare PyTorch loop: same network, loader,
optimizer, schedule, clipping, deterministic algorithms and validation, the same number of steps.

Both run in turns, in one process, after one run of each to warm up. A round is one run of each; what is
compared is the steady state, from the second epoch to the last, with all that happens between two epochs.
What a training costs once, at its start and until its last checkpoint is durable, is told apart. ``wall`` is
the clock; ``cpu`` is what all threads of the process used, which other programs disturb less: with
``--threads 1`` no thread waits for another in a loop. The figure is the median of the rounds' ratios.
"""

# ruff: noqa: ARG002 - Lightning fixes the parameters of its hooks

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

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
from heimdall_core.training.divergence import StopWhenDiverged
from heimdall_core.training.inference import predict
from heimdall_core.training.logger import ReporterLogger
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import construction_for
from heimdall_core.training.reporting import JobReporter
from heimdall_core.training.trainer import create_trainer, fit
from worker.pipe_reporter import PipeReporter
from worker.trainer_process import _watch_supervisor

_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in time by two clocks, s."""

    wall: float
    cpu: float

    @staticmethod
    def now() -> "_Moment":
        return _Moment(time.perf_counter(), time.process_time())

    def __sub__(self, other: "_Moment") -> "_Moment":
        return _Moment(self.wall - other.wall, self.cpu - other.cpu)

    def ratio(self, other: "_Moment") -> "_Moment":
        return _Moment(self.wall / other.wall, self.cpu / other.cpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What one training took."""

    began: _Moment
    epochs: list[_Moment]
    """The start of each epoch, and the end of the last."""
    ended: _Moment
    """When there was nothing left to be done."""
    num_steps: int

    @property
    def steady(self) -> _Moment:
        """From the second epoch to the last."""
        return self.epochs[-1] - self.epochs[1]

    @property
    def once(self) -> float:
        """Seconds before the first epoch and after the last."""
        return (self.epochs[0] - self.began).wall + (self.ended - self.epochs[-1]).wall


class _Clock(Callback):
    """Notes when each epoch begins: after everything that the one before it left to be done."""

    def __init__(self) -> None:
        self.epochs: list[_Moment] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append(_Moment.now())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append(_Moment.now())


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
        self.steady_sessions = (options.epochs - 1) * len(self._data.train_set)

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

    def bare(self) -> _Run:
        """A plain loop."""
        module, data = self._module(), self._data
        net, loss = module.net, GaussianNLLLoss(unit_km=module.net.plane_scale_km)
        configured = module.configure_optimizers()
        optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        loader, num_steps = data.train_dataloader(), 0
        began, epochs = _Moment.now(), []
        for epoch in range(self._training.epochs):
            epochs.append(_Moment.now())
            loader.sampler.set_epoch(epoch)
            net.train()
            for batch in loader:
                plane = net.plane(batch.inputs)
                value = loss(
                    plane.mean_km, plane.sigma_km, batch.target_km, plane.correlation, plane.components
                )
                optimizer.zero_grad()
                value.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), self._training.gradient_clip or np.inf)
                optimizer.step()
                schedule.step()
                num_steps += 1
            predict(net, data.val_set).nll(data.val_set.targets_km)
        ended = _Moment.now()
        return _Run(began=began, epochs=[*epochs, ended], ended=ended, num_steps=num_steps)

    def service(self) -> _Run:
        """A job's training, until its last checkpoint is durable."""
        clock, best = _Clock(), BestWeights()
        module, data = self._module(), self._data
        with tempfile.TemporaryDirectory() as name, _Listener() as descriptor, _Supervisor() as control:
            folder, pipe = Path(name), PipeReporter(descriptor)
            control.watched_by(pipe)
            reporter = JobReporter(pipe)
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
                    best,
                    StopWhenDiverged(self._training, best, uploader),
                    checkpoints,
                    clock,
                ],
                num_batches=data.num_batches,
            )
            began = _Moment.now()
            fit(trainer, module, data)
            uploader.flush(60.0)
            ended = _Moment.now()
            uploader.close(30.0)
            tracker.end("FINISHED")
            tracker.close()
        return _Run(began=began, epochs=clock.epochs, ended=ended, num_steps=trainer.global_step)


class _Listener:
    """A process that reads what the trainer says, as a worker does."""

    def __enter__(self) -> int:
        self._process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


class _Supervisor:
    """The end of a worker's pipe that a trainer watches; nothing comes through it."""

    def __enter__(self) -> "_Supervisor":
        self._read, self._write = os.pipe()
        return self

    def watched_by(self, reporter: PipeReporter) -> None:
        """Starts the trainer's own thread."""
        _watch_supervisor(self._read, reporter, alive_until=math.inf)

    def __exit__(self, *_: object) -> None:
        """Leaves the pipe open: a trainer whose worker is gone ends its process."""


def main() -> int:
    """Prints the ratios of samples/s, a line for each round, and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_loop", description=__doc__)
    parser.add_argument("--backbone", default="micro")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.epochs == 1:
        parser.error("--epochs: the steady state begins with the second epoch")
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(mode=True)
    features = world_features(Sizes(train=options.sessions, val=200, test=200))
    with tempfile.TemporaryDirectory() as folder:
        return _compare(_Case(features, options, Path(folder)), options)


def _compare(case: _Case, options: argparse.Namespace) -> int:
    case.bare()
    case.service()
    rounds: list[tuple[_Run, _Run]] = []
    for number in range(options.rounds):
        if number % 2:
            bare, service = case.bare(), case.service()
        else:
            service, bare = case.service(), case.bare()
        assert bare.num_steps == service.num_steps
        ratio = bare.steady.ratio(service.steady)
        rounds.append((bare, service))
        print(
            f"round {number + 1}: bare {bare.steady.wall:.2f} s, service {service.steady.wall:.2f} s, "
            f"once {service.once:.2f} s; ratio wall {ratio.wall:.3f}, cpu {ratio.cpu:.3f}",
            flush=True,
        )
    _report(case, rounds, options)
    return 0


def _report(case: _Case, rounds: list[tuple[_Run, _Run]], options: argparse.Namespace) -> None:
    ratios = [bare.steady.ratio(service.steady) for bare, service in rounds]
    wall, cpu = [r.wall for r in ratios], [r.cpu for r in ratios]
    whole = median((b.ended - b.began).wall / (s.ended - s.began).wall for b, s in rounds)
    speeds = [
        case.steady_sessions / median(r.steady.wall for r in runs) for runs in zip(*rounds, strict=True)
    ]
    once = median(service.once for _, service in rounds)
    print(
        f"{options.backbone}, batch {options.batch_size}, {options.threads} threads, {os.cpu_count()} cores, "
        f"epochs 2 to {options.epochs} of {options.sessions} sessions: "
        f"bare {speeds[0]:.0f}, service {speeds[1]:.0f} samples/s; "
        f"ratio by the clock {median(wall):.3f} ({min(wall):.3f} to {max(wall):.3f}), "
        f"by CPU time {median(cpu):.3f} ({min(cpu):.3f} to {max(cpu):.3f}); "
        f"once {once:.2f} s, with which the whole is {whole:.3f}"
    )
    result = {"wall": median(wall), "cpu": median(cpu), "once_seconds": once, "whole": whole}
    print(json.dumps({**vars(options), **result, "walls": wall, "cpus": cpu}))


if __name__ == "__main__":
    sys.exit(main())
