"""``TrainingPipeline``: a frozen manifest in, a verified ONNX model and its evaluation out. No database."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import Checkpoint, JobStopped, ObjectStore, Reporter, StoredObject
from heimdall_core.domain.spec import TrainJobSpec
from heimdall_core.evaluation.report import EvaluationReport
from heimdall_core.exporting import Publication, tell_test_metrics
from heimdall_core.features import FeatureCache, FeatureSet
from heimdall_core.outcomes import describe_training
from heimdall_core.storage import join_uri
from heimdall_core.tracking import MLflowTracker, TrackingTarget
from heimdall_core.tracking.tracker import RunStatus
from heimdall_core.training.assessment import assess
from heimdall_core.training.callbacks import (
    BestWeights,
    DurableCheckpoints,
    FinishOnRequest,
    ProgressReporting,
)
from heimdall_core.training.checkpoints import CheckpointUploader, usable_checkpoint
from heimdall_core.training.creation import create_module, tell_start
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.dataset import require_splits
from heimdall_core.training.distributed import Orders, fit_together, follow
from heimdall_core.training.divergence import StopWhenDiverged
from heimdall_core.training.logger import ReporterLogger
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import map_of, read_weights
from heimdall_core.training.provenance import describe_pretrained, describe_run, flatten
from heimdall_core.training.publishing import Publisher
from heimdall_core.training.radio_map import RadioGrid
from heimdall_core.training.ranks import Ranks, Seat, ranks_of
from heimdall_core.training.reporting import JobReporter
from heimdall_core.training.trainer import Device, choose_device, create_trainer, fit
from heimdall_core.training.warm_start import fetch_weights

_CLOSE_SECONDS = 30.0


class TrainingPipeline:
    """One training job from its manifest to its artifacts.

    Args:
        spec: the accepted specification.
        manifest: the frozen dataset version.
        store: where recordings lie and artifacts go.
        reporter: told of phases, progress, metrics, events, checkpoints and artifacts.
        output_uri: the prefix under which this attempt may write.
        workspace: a folder of this attempt's own on the local disk.
        cache_dir: the feature cache, shared by the jobs of a host.
        tracking: MLflow, or None.
        run_name: the run's name in MLflow and in the model's metadata.
        tags: of the MLflow run and the model; ``heimdall.job_id`` ties the attempts of a job together.
        resume_from: a durable checkpoint of an earlier attempt.
        init_weights: a ``best.ckpt`` to start from; see ``training.warm_start``.
        pretrained_dir: a folder of published weights; None: the Hugging Face hub or its cache.
        plane_scale_km: that of ``resume_from``; None: that of ``init_weights``, else fitted to the targets.
        checkpoint_seconds: a durable checkpoint is made at most so often.
        lineage: what the caller alone knows of the run, for ``manifest.json``; see ``describe_run``.
    """

    def __init__(
        self,
        *,
        spec: TrainJobSpec,
        manifest: Manifest,
        store: ObjectStore,
        reporter: Reporter,
        output_uri: str,
        workspace: Path,
        cache_dir: Path,
        tracking: TrackingTarget | None = None,
        run_name: str,
        tags: Mapping[str, str],
        resume_from: Checkpoint | None = None,
        init_weights: StoredObject | None = None,
        pretrained_dir: Path | None = None,
        plane_scale_km: float | None = None,
        checkpoint_seconds: float = 30.0,
        lineage: Mapping[str, Any] | None = None,
    ) -> None:
        self._spec = spec
        self._manifest = manifest
        self._store = store
        self._reporter = JobReporter(reporter)
        self._output_uri = output_uri
        self._workspace = workspace
        self._cache_dir = cache_dir
        self._tracking = tracking
        self._run_name = run_name
        self._tags = dict(tags)
        self._resume_from = resume_from
        self._init_weights = init_weights
        self._pretrained_dir = pretrained_dir
        self._plane_scale_km = plane_scale_km
        self._checkpoint_seconds = checkpoint_seconds
        self._lineage = lineage
        self._trained: dict[str, int] | None = None
        self._pretrained: dict[str, Any] | None = None
        self._started_at = time.monotonic()
        self._digest = manifest.digest()
        self._best = BestWeights(spec.training.keep)
        self._tracker: MLflowTracker | None = None
        self._uploader: CheckpointUploader | None = None
        self._ranks: Ranks | None = None
        self._device: Device | None = None
        self._grid: RadioGrid | None = None

    def run(self) -> dict[str, Any]:
        """Trains, evaluates and exports; returns the job's result in JSON's own types.

        Raises:
            DataError: a split is empty, a recording is unusable, or the export disagrees with the network.
            TrainingError: the loss is not finite or explodes, or the host has not what the resources ask for.
            InfrastructureError: the object store did not answer, or one of several devices' processes died.
            JobStopped: a stop was requested; the newest checkpoint is durable if the store answered.
        """
        # First of all: no thread of torch's and nothing of CUDA's may exist where processes are forked.
        with ranks_of(self._spec.resources.devices, self._workspace, self._follow) as self._ranks:
            return self._tracked(self._train_phases)

    def run_export_only(self, weights: Path) -> dict[str, Any]:
        """Evaluates and exports weights that were trained before; the result is that of ``run``.

        Args:
            weights: a ``best.ckpt``, or a durable checkpoint of a training, on this dataset version.

        Raises:
            DataError: as ``run``; or the file is damaged, or of another network or dataset.
            InfrastructureError, JobStopped: as ``run``.
        """
        return self._tracked(lambda: self._export_phases(weights))

    def _tracked(self, phases: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        status: RunStatus = "FAILED"
        try:
            self._tracker = self._init_mlflow()
            result = phases()
            status = "FINISHED"
        except JobStopped:
            status = "KILLED"
            raise
        finally:
            self._close(status)
        run_id = self._tracker.run_id if self._tracker is not None else None
        return {**result, "mlflow_run_id": run_id}

    def _train_phases(self) -> dict[str, Any]:
        assert self._ranks is not None
        self._device = self._choose_device()
        features = self.load_data()
        data = HeimdallDataModule(features, self._spec.training, share=self._ranks.share)
        self._prepare_radio_map(data)
        module = self.create_lightning_module(data)
        trainer = self.create_trainer(data)
        self.train(trainer, module, data)
        return self.export_and_register(module, features, self.evaluate(module, features))

    def _prepare_radio_map(self, data: HeimdallDataModule) -> None:
        if (radio_map := data.prepare_radio_map()) is not None:
            self._grid = radio_map.grid
            self._reporter.event("radio_map_ready", num_receivers=radio_map.num_receivers)

    def _choose_device(self) -> Device:
        backbone = self._spec.model.backbone
        device = choose_device(self._spec.training, self._spec.resources, backbone=backbone)
        self._reporter.event("device_chosen", **device.describe())
        return device

    def _follow(self, seat: Seat) -> None:
        """What a forked rank does: the steps of the training, and nothing else."""
        orders = seat.await_orders()
        assert isinstance(orders, Orders)
        features = FeatureCache(self._cache_dir).get(self._manifest, self._store)
        follow(seat, orders, features, self._spec.training, self._workspace)

    def _export_phases(self, weights: Path) -> dict[str, Any]:
        saved = read_weights(weights)
        saved.require_dataset(self._digest, weights.name)
        self._plane_scale_km = saved.construction.plane_scale_km
        features = self.load_data()
        data = HeimdallDataModule(features, self._spec.training)
        module = self.create_lightning_module(data)
        saved.require_fit(module.construction, weights.name)
        saved.require_map(self._spec.training, weights.name)
        if map_of(self._spec.training) is not None:
            self._prepare_radio_map(data)
        self._best.take(saved.weights, epoch=saved.epoch)
        return self.export_and_register(module, features, self.evaluate(module, features))

    def _init_mlflow(self) -> MLflowTracker | None:
        """Begins the run on a thread of its own."""
        if self._tracking is None:
            return None
        tracker = MLflowTracker(
            self._tracking,
            run_name=self._run_name,
            tags=self._tags,
            on_unavailable=lambda message: self._reporter.event("tracking_unavailable", message=message),
        )
        provenance = self._provenance()
        spec = provenance["spec"] | {"init_from": provenance["init_from"]}
        tracker.log_params({**flatten(spec), "dataset_digest": self._digest})
        return tracker

    def load_data(self) -> FeatureSet:
        """Opens or builds the features of the dataset version."""
        self._reporter.phase(JobPhase.PREPARING)
        require_splits(self._manifest)
        features = FeatureCache(self._cache_dir).get(
            self._manifest,
            self._store,
            on_progress=lambda done, total: self._reporter.advance(done / max(1, total)),
            stop=self._reporter.stop_requested,
        )
        self._reporter.event("features_ready", cached=features.was_cached, num_segments=len(features.inputs))
        return features

    def create_lightning_module(self, data: HeimdallDataModule) -> LocalizationLightningModule:
        """The network, scaled to the training split, with weights that seed and specification decide.

        Raises:
            DataError: the weights to start from are damaged or cannot fit.
            InfrastructureError: they cannot be fetched.
        """
        stored, path = self._init_weights, self._workspace / "init.ckpt"
        module, start = create_module(
            self._spec,
            self._manifest,
            data,
            saved=None if stored is None else fetch_weights(stored, self._store, path),
            plane_scale_km=self._plane_scale_km,
            pretrained_dir=self._pretrained_dir,
        )
        if self._spec.model.pretrained:
            self._pretrained = describe_pretrained(module.net, self._spec.model.backbone)
        # The start of a resumed attempt goes without saying: its checkpoint takes the place of it.
        if start is not None and self._resume_from is None:
            tell_start(self._reporter, self._spec, start)
        return module

    def create_trainer(self, data: HeimdallDataModule) -> pl.Trainer:
        """The trainer with this job's callbacks."""
        base_uri = join_uri(self._output_uri, "checkpoints")
        self._uploader = CheckpointUploader(self._store, base_uri, self._reporter)
        return create_trainer(
            training=self._spec.training,
            resources=self._spec.resources,
            workspace=self._workspace,
            logger=ReporterLogger(self._reporter, self._tracker),
            callbacks=[
                ProgressReporting(self._reporter, started_at=self._started_at),
                FinishOnRequest(self._reporter),
                self._best,
                StopWhenDiverged(self._spec.training, self._best, self._uploader),
                DurableCheckpoints(
                    self._workspace / "checkpoints",
                    self._uploader,
                    self._reporter,
                    interval_seconds=self._checkpoint_seconds,
                ),
            ],
            num_batches=data.num_batches,
            device=self._device,
        )

    def train(
        self, trainer: pl.Trainer, module: LocalizationLightningModule, data: HeimdallDataModule
    ) -> None:
        """Trains, from the durable checkpoint if there is a usable one; on several devices within ``run``."""
        resume_path = None
        if self._resume_from is not None:
            path = self._workspace / "resume.ckpt"
            resume_path = usable_checkpoint(self._resume_from, self._store, path, module, self._reporter)
        self._reporter.phase(JobPhase.TRAINING)
        if self._spec.resources.devices == 1:
            fit(trainer, module, data, resume_path=resume_path)
        else:
            assert self._ranks is not None, "several devices train within run alone"
            assert self._device is not None
            fit_together(self._ranks, self._device, trainer, module, data, resume_path=resume_path)
        module.to(trainer.strategy.root_device)
        self._trained = {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "best_epoch": self._best.epoch,
        }
        self._reporter.event("training_finished", **self._trained)

    def evaluate(self, module: LocalizationLightningModule, features: FeatureSet) -> EvaluationReport:
        """Calibrates the best weights on the validation split and evaluates them on the test split."""
        self._enter(JobPhase.EVALUATING)
        module.net.load_state_dict(self._best.weights)
        report = assess(module.net, features, self._manifest, self._reporter, grid=self._grid)
        tell_test_metrics(report, self._reporter, self._tracker, epoch=self._best.epoch)
        return report

    def export_and_register(
        self, module: LocalizationLightningModule, features: FeatureSet, report: EvaluationReport
    ) -> dict[str, Any]:
        """Exports, verifies and uploads everything; the caller registers what the result names."""
        self._enter(JobPhase.EXPORTING)
        publication = self._publication()
        models = publication.export(module, features, report)
        self._enter(JobPhase.REGISTERING)
        publication.publish_files(module, report, epoch=self._best.epoch, provenance=self._provenance())
        self._reporter.advance(1.0)
        return describe_training(
            module=module,
            best=self._best,
            manifest=self._manifest,
            dataset_digest=self._digest,
            report=report,
            models=models,
        )

    def _publication(self) -> Publication:
        return Publication(
            spec=self._spec,
            manifest=self._manifest,
            digest=self._digest,
            store=self._store,
            output_uri=self._output_uri,
            workspace=self._workspace,
            reporter=self._reporter,
            publisher=Publisher(self._store, self._output_uri, self._reporter, self._tracker),
            tracking=self._tracking,
            run_name=self._run_name,
            tags=self._tags,
            templates_dir=self._cache_dir / "graphs",
        )

    def _provenance(self) -> dict[str, Any]:
        kind = "export" if self._device is None else "train"
        device = None if self._device is None else self._device.describe()
        return {"kind": kind, "device": device, "trained": self._trained} | describe_run(
            spec=self._spec,
            manifest=self._manifest,
            digest=self._digest,
            run_name=self._run_name,
            resume_from=self._resume_from,
            init_weights=self._init_weights,
            pretrained=self._pretrained,
            lineage=self._lineage,
        )

    def _enter(self, phase: JobPhase) -> None:
        if (request := self._reporter.stop_requested()) is not None:
            raise JobStopped(request)
        self._reporter.phase(phase)

    def _close(self, status: RunStatus) -> None:
        if self._uploader is not None:
            self._uploader.close(_CLOSE_SECONDS)
        if self._tracker is not None:
            self._tracker.end(status)
            self._tracker.close()
