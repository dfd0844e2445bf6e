"""A training with the product's own parts on ready-made features; finished runs are kept, others resumed."""

# ruff: noqa: ARG002 - Lightning fixes the parameters of its hooks

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray

from benchmarks.folder import bench_folder, code_digest, key_of, write_json
from benchmarks.sites import receiver_sites
from heimdall_core.domain.spec import ModelSpec, ResourcesSpec, TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.training.callbacks import BestWeights
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.fusion import fit_fusion
from heimdall_core.training.inference import PlaneGaussians, PlaneMixtures, fit_calibration, predict
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import construction_for, save_weights
from heimdall_core.training.trainer import create_trainer, fit

Float = NDArray[np.float64]
_MIXTURE = "mixture_"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is trained on what.

    Args:
        name: of the run, for people.
        data: all that the features and their splits depend on.
        model: size and covariance.
        training: hyper-parameters.
    """

    name: str
    data: dict[str, Any]
    model: ModelSpec
    training: TrainingSpec

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        facts = {"data": self.data, "model": asdict(self.model), "training": asdict(self.training)}
        return bench_folder() / "runs" / f"{self.name}-{key_of(facts | {'code': code_digest()})}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPoint:
    """The state after an epoch."""

    epoch: int
    seconds: float
    """Of training and validation so far, without what this benchmark adds."""
    val_loss: float
    val_rmse_km: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedRun:
    """The best weights' predictions of the test split."""

    curve: tuple[EpochPoint, ...]
    calibration_scale: float
    best_epoch: int
    num_parameters: int
    prediction: PlaneGaussians
    weights: Path


def train(plan: RunPlan, features: FeatureSet, origin: tuple[float, float]) -> FinishedRun:
    """Trains, or reads the run that was trained before."""
    folder = plan.folder
    if not (folder / "result.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _train(plan, features, origin, folder)
    result = json.loads((folder / "result.json").read_text())
    return FinishedRun(
        curve=tuple(EpochPoint(**point) for point in result["curve"]),
        calibration_scale=result["calibration_scale"],
        best_epoch=result["best_epoch"],
        num_parameters=result["num_parameters"],
        prediction=_read_prediction(folder / "test.npz"),
        weights=folder / "best.ckpt",
    )


def _train(plan: RunPlan, features: FeatureSet, origin: tuple[float, float], folder: Path) -> None:
    torch.use_deterministic_algorithms(mode=True)
    pl.seed_everything(plan.training.seed, verbose=False)
    data = HeimdallDataModule(features, plan.training)
    construction = construction_for(
        plan.model,
        num_receivers=features.num_receivers,
        origin=origin,
        targets_km=data.train_set.targets_km,
    )
    net = construction.build()
    net.set_sites(receiver_sites(features))
    module = LocalizationLightningModule(
        net, plan.training, steps_per_epoch=data.steps_per_epoch, construction=construction
    )
    val = HeimdallDataset(features, "val", training=False)
    best, curve = BestWeights(plan.training.keep), _Curve(plan.name, folder / "last.ckpt", val)
    trainer = create_trainer(
        training=plan.training,
        resources=ResourcesSpec(accelerator="cpu"),
        workspace=folder / "work",
        logger=_Silence(),
        callbacks=[best, curve],
        num_batches=data.num_batches,
    )
    last = folder / "last.ckpt"
    fit(trainer, module, data, resume_path=last if last.exists() else None)
    net.load_state_dict(best.weights)
    radio_map = data.prepare_radio_map()
    if radio_map is not None and radio_map.grid is not None:
        print(f"{plan.name}: fused with exponent {fit_fusion(net, radio_map.grid, val)}", flush=True)
    net.set_calibration(fit_calibration(predict(net, val), val.targets_km))
    prediction = predict(net, HeimdallDataset(features, "test", training=False))
    _write_prediction(folder / "test.npz", prediction)
    save_weights(folder / "best.ckpt", net, construction, epoch=best.epoch)
    write_json(
        folder / "result.json",
        {
            "plan": {"name": plan.name, "data": plan.data, "model": asdict(plan.model)},
            "training": asdict(plan.training),
            "curve": curve.points,
            "calibration_scale": float(net.calibration_scale),
            "best_epoch": best.epoch,
            "num_parameters": sum(p.numel() for p in net.parameters()),
        },
    )
    shutil.rmtree(folder / "work", ignore_errors=True)
    last.unlink(missing_ok=True)


def _write_prediction(path: Path, prediction: PlaneGaussians) -> None:
    arrays = asdict(prediction)
    mixtures = arrays.pop("mixtures") or {}
    np.savez(path, **arrays, **{_MIXTURE + name: values for name, values in mixtures.items()})


def _read_prediction(path: Path) -> PlaneGaussians:
    arrays = dict(np.load(path))
    mixtures = {n.removeprefix(_MIXTURE): arrays.pop(n) for n in list(arrays) if n.startswith(_MIXTURE)}
    return PlaneGaussians(**arrays, mixtures=PlaneMixtures(**mixtures) if mixtures else None)


class _Curve(Callback):
    """Notes each epoch, says so, and keeps a checkpoint to resume from."""

    def __init__(self, name: str, path: Path, val: HeimdallDataset) -> None:
        self._name, self._path, self._val = name, path, val
        self.points: list[dict[str, float]] = []
        self._began_at = 0.0
        self._seconds_before = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began_at = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LocalizationLightningModule)
        seconds = self._seconds_before + time.monotonic() - self._began_at
        residual_km = predict(pl_module.net, self._val).mean_km - self._val.targets_km
        pl_module.net.train()
        point = {
            "epoch": trainer.current_epoch + 1,
            "seconds": round(seconds, 1),
            "val_loss": float(trainer.callback_metrics["val_loss"]),
            "val_rmse_km": float(np.sqrt((residual_km**2).sum(axis=1).mean())),
        }
        self.points.append(point)
        print(f"{self._name}: {json.dumps(point)}", flush=True)
        trainer.save_checkpoint(self._path)
        self._began_at, self._seconds_before = time.monotonic(), seconds

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points = list(state_dict["points"])
        self._seconds_before = self.points[-1]["seconds"] if self.points else 0.0


class _Silence(Logger):
    """Lightning logs nowhere."""

    @property
    def name(self) -> str:
        return "benchmark"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        return

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        return
