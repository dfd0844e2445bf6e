"""A run that is stopped anywhere and resumed ends in the weights of the uninterrupted run, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import ModelSpec, TrainingSpec
from heimdall_core.storage import FolderStore

TRAINING = TrainingSpec(epochs=3, batch_size=3, seed=7, warmup_epochs=1, early_stopping_patience=None)


@pytest.fixture(scope="module")
def features(make_features: Any) -> Any:
    return make_features()


@pytest.fixture(scope="module")
def whole(features: Any, run_training: Callable[..., Any], make_reporter: Any, tmp_path_factory: Any) -> Any:
    """The uninterrupted run of ``TRAINING``."""
    folder = tmp_path_factory.mktemp("whole")
    return run_training(
        features,
        folder / "work",
        reporter=make_reporter(),
        store=FolderStore(folder / "store"),
        training=TRAINING,
    )


def _assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert different == []


def test_same_seed_gives_the_same_weights_and_another_seed_does_not(
    features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    runs = [
        run_training(
            features,
            tmp_path / str(number),
            reporter=make_reporter(),
            store=folder_store,
            training=replace(TRAINING, seed=seed, epochs=2),
        )
        for number, seed in enumerate((7, 7, 8))
    ]
    _assert_same(runs[0].weights, runs[1].weights)
    assert any(not torch.equal(runs[0].weights[n], runs[2].weights[n]) for n in runs[0].weights)


# 12 training sessions in batches of 3: 4 steps an epoch; 2 and 6 lie within one, 4 and 8 at its end.
@pytest.mark.parametrize("stop_at_step", [1, 2, 4, 6, 8, 11])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(
    features: Any,
    whole: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
    stop_at_step: int,
) -> None:
    first = make_reporter(stop_at_step=stop_at_step)
    with pytest.raises(JobStopped):
        run_training(features, tmp_path / "first", reporter=first, store=folder_store, training=TRAINING)
    second = make_reporter()
    resumed = run_training(
        features,
        tmp_path / "second",
        reporter=second,
        store=folder_store,
        training=TRAINING,
        resume_from=first.checkpoints[-1],
    )
    _assert_same(whole.weights, resumed.weights)
    _assert_same(whole.best.weights, resumed.best.weights)
    assert (whole.best.epoch, whole.best.val_loss) == (resumed.best.epoch, resumed.best.val_loss)
    assert second.events_named("resumed") == [
        {"epoch": first.checkpoints[-1].epoch, "step": first.checkpoints[-1].step}
    ]


def test_accumulated_gradients_survive_a_resume(
    features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    training = replace(TRAINING, accumulate_grad_batches=2, batch_size=2)
    whole = run_training(
        features, tmp_path / "whole", reporter=make_reporter(), store=folder_store, training=training
    )
    first = make_reporter(stop_at_step=2)
    with pytest.raises(JobStopped):
        run_training(features, tmp_path / "first", reporter=first, store=folder_store, training=training)
    resumed = run_training(
        features,
        tmp_path / "second",
        reporter=make_reporter(),
        store=folder_store,
        training=training,
        resume_from=first.checkpoints[-1],
    )
    _assert_same(whole.weights, resumed.weights)


def test_a_run_killed_after_a_checkpoint_within_an_epoch_equals_the_uninterrupted_one(
    features: Any,
    whole: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    killed = make_reporter()
    run_training(
        features,
        tmp_path / "first",
        reporter=killed,
        store=folder_store,
        training=TRAINING,
        interval_seconds=0.0,
    )
    for number, checkpoint in enumerate(killed.checkpoints[:2]):
        resumed = run_training(
            features,
            tmp_path / f"resumed-{number}",
            reporter=make_reporter(),
            store=folder_store,
            training=TRAINING,
            resume_from=checkpoint,
        )
        _assert_same(whole.weights, resumed.weights)


def test_a_run_that_is_complete_trains_no_further_step(
    features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    first = make_reporter()
    whole = run_training(features, tmp_path / "first", reporter=first, store=folder_store, training=TRAINING)
    resumed = run_training(
        features,
        tmp_path / "second",
        reporter=make_reporter(),
        store=folder_store,
        training=TRAINING,
        resume_from=first.checkpoints[-1],
    )
    _assert_same(whole.weights, resumed.weights)
    assert resumed.trainer.global_step == whole.trainer.global_step
    _assert_same(whole.best.weights, resumed.best.weights)


def test_a_run_that_had_stopped_early_stays_stopped(
    features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    training = replace(TRAINING, epochs=30, learning_rate=0.5, gradient_clip=0.1, early_stopping_patience=1)
    first = make_reporter()
    whole = run_training(features, tmp_path / "first", reporter=first, store=folder_store, training=training)
    assert whole.trainer.current_epoch < 30
    resumed = run_training(
        features,
        tmp_path / "second",
        reporter=make_reporter(),
        store=folder_store,
        training=training,
        resume_from=first.checkpoints[-1],
    )
    assert resumed.trainer.global_step == whole.trainer.global_step
    _assert_same(whole.weights, resumed.weights)


def test_a_checkpoint_that_has_changed_is_refused_and_the_run_starts_anew(
    features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    first = make_reporter()
    whole = run_training(features, tmp_path / "first", reporter=first, store=folder_store, training=TRAINING)
    damaged = first.checkpoints[-1]
    folder_store.put_bytes(damaged.object.uri, b"not what was written")
    second = make_reporter()
    again = run_training(
        features,
        tmp_path / "second",
        reporter=second,
        store=folder_store,
        training=TRAINING,
        resume_from=damaged,
    )
    assert second.events_named("resume_failed")[0]["code"] == "checkpoint_corrupt"
    assert second.events_named("resumed") == []
    _assert_same(whole.weights, again.weights)


def test_a_checkpoint_of_another_network_is_refused(
    features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    first = make_reporter()
    training = replace(TRAINING, epochs=1)
    run_training(features, tmp_path / "first", reporter=first, store=folder_store, training=training)
    second = make_reporter()
    run_training(
        features,
        tmp_path / "second",
        reporter=second,
        store=folder_store,
        training=training,
        model=ModelSpec(backbone="micro", covariance="full"),
        resume_from=first.checkpoints[-1],
    )
    assert second.events_named("resume_failed")[0]["code"] == "checkpoint_of_other_network"
