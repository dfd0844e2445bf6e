"""What a run reports, keeps and survives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heimdall_core.domain.errors import DataError, TrainingError
from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import ModelSpec, TrainingSpec
from heimdall_core.storage import FolderStore
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import construction_for

TRAINING = TrainingSpec(epochs=2, batch_size=4, seed=1, early_stopping_patience=None)


def test_a_loss_that_is_not_finite_is_an_error_with_a_hint(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    features = make_features()
    features.inputs[:] = np.nan
    with pytest.raises(TrainingError) as raised:
        run_training(features, tmp_path, reporter=reporter, store=folder_store, training=TRAINING)
    assert raised.value.stable_code == "loss_not_finite"
    assert raised.value.hint is not None
    assert "learning_rate" in raised.value.hint


def test_a_store_that_refuses_checkpoints_does_not_stop_the_training(
    make_features: Any, run_training: Callable[..., Any], reporter: Any, refusing_store: Any, tmp_path: Path
) -> None:
    run = run_training(
        make_features(),
        tmp_path / "work",
        reporter=reporter,
        store=refusing_store,
        training=TRAINING,
        interval_seconds=0.0,
    )
    assert run.trainer.current_epoch == 2
    assert reporter.checkpoints == []
    assert refusing_store.num_refused >= 1
    failures = reporter.events_named("checkpoint_upload_failed")
    assert len(failures) == refusing_store.num_refused
    assert failures[0]["code"] == "storage_unavailable"
    assert (run.folder / "last.ckpt").is_file()


def test_a_split_without_sessions_is_named(make_features: Any) -> None:
    features = make_features()
    empty = replace(features, splits=tuple("train" for _ in features.splits))
    with pytest.raises(DataError, match="'val'") as raised:
        HeimdallDataModule(empty, TRAINING)
    assert raised.value.stable_code == "empty_split"


def test_a_stop_leaves_a_durable_checkpoint_of_the_step_it_came_at(
    make_features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    reporter = make_reporter(stop_at_step=2)
    with pytest.raises(JobStopped) as raised:
        run_training(
            make_features(), tmp_path / "work", reporter=reporter, store=folder_store, training=TRAINING
        )
    assert raised.value.request == "cancel"
    assert reporter.checkpoints[-1].step == 2
    assert reporter.checkpoints[-1].epoch == 0


def test_progress_metrics_and_the_first_step_are_reported(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    run = run_training(
        make_features(), tmp_path / "work", reporter=reporter, store=folder_store, training=TRAINING
    )
    assert [p.step for p in reporter.progresses] == [1, 2, 3, 4, 5, 6]
    assert [p.epoch for p in reporter.progresses] == [1, 1, 1, 2, 2, 2]
    last = reporter.progresses[-1]
    assert (last.steps, last.epochs, last.eta_seconds) == (6, 2, 0.0)
    assert last.samples_per_second > 0
    percents = [p.percent for p in reporter.progresses]
    assert percents == sorted(percents)
    assert len(reporter.events_named("first_step")) == 1
    named = {name for _, _, values in reporter.points for name in values}
    of_validation = {"val_loss", "val_median_error_m", "val_coverage_68"}
    assert named == {"train_loss", "grad_norm", "learning_rate", "samples_per_second"} | of_validation
    speeds = [(step, epoch) for step, epoch, values in reporter.points if "samples_per_second" in values]
    assert speeds == [(2, 1), (5, 2)]
    validated = [epoch for _, epoch, values in reporter.points if "val_loss" in values]
    assert validated == [1, 2]
    assert reporter.checkpoints[-1].epoch == 2
    assert reporter.checkpoints[-1].metrics.keys() >= {"val_loss", "val_median_error_m"}
    assert run.best.weights.keys() == run.module.net.state_dict().keys()


def test_the_last_epochs_weights_are_kept_where_that_is_asked_for_better_or_not(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    best, last = (
        run_training(
            make_features(),
            tmp_path / keep,
            reporter=reporter,
            store=folder_store,
            training=replace(TRAINING, epochs=4, keep=keep, learning_rate=0.3, gradient_clip=None),
        )
        for keep in ("best", "last")
    )
    assert best.best.epoch < last.best.epoch == 4
    trained = last.module.net.state_dict()
    assert all(torch.equal(kept, trained[name]) for name, kept in last.best.weights.items())


def test_the_three_best_checkpoints_and_the_last_are_kept_and_nothing_outside_the_workspace(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = run_training(
        make_features(),
        tmp_path / "work",
        reporter=reporter,
        store=folder_store,
        training=replace(TRAINING, epochs=5),
    )
    files = sorted(p.name for p in run.folder.iterdir())
    assert "last.ckpt" in files
    assert len([f for f in files if f.startswith("epoch=")]) == 3
    assert len(files) == 4
    assert list(elsewhere.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_checkpoints_hold_tensors_and_plain_values_only(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    run = run_training(
        make_features(), tmp_path / "work", reporter=reporter, store=folder_store, training=TRAINING
    )
    content = torch.load(run.folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == 6


def test_one_batch_can_be_learnt_by_heart(make_features: Any) -> None:
    torch.manual_seed(0)
    features = make_features(10, max_segments=1)
    training = TrainingSpec(epochs=120, batch_size=8, warmup_epochs=5, learning_rate=2e-3, augment=False)
    data = HeimdallDataModule(features, training)
    construction = construction_for(
        ModelSpec(backbone="micro"),
        num_receivers=3,
        origin=(44.95, 8.1),
        targets_km=data.train_set.targets_km,
    )
    module = LocalizationLightningModule(
        construction.build(), training, steps_per_epoch=1, construction=construction
    )
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    batch = next(iter(data.train_dataloader()))
    for _ in range(training.epochs):
        optimizer.zero_grad()
        mean_km, sigma_km, correlation, _ = module.net.plane(batch.inputs)
        module._loss(mean_km, sigma_km, batch.target_km, correlation).backward()
        torch.nn.utils.clip_grad_norm_(module.net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        error_km = torch.linalg.vector_norm(module.net.plane(batch.inputs).mean_km - batch.target_km, dim=1)
    assert error_km.median() < 2.0
