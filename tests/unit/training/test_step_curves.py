"""The points of a step: which there are, and that they travel together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heimdall_core.domain.spec import TrainingSpec
from heimdall_core.storage import FolderStore
from heimdall_core.training.module import _seed

TRAINING = TrainingSpec(epochs=2, batch_size=4, seed=1, early_stopping_patience=None)
OF_A_STEP = {"train_loss", "grad_norm", "learning_rate"}


def _points_of_steps(reporter: Any) -> list[int]:
    points = [(step, values.keys()) for step, _, values in reporter.points if OF_A_STEP & values.keys()]
    assert all(names == OF_A_STEP for _, names in points), "one message has all of them"
    return [step for step, _ in points]


@pytest.mark.parametrize(
    ("num_accumulated", "epochs", "steps"),
    [(1, 2, [2, 5]), (2, 3, [2, 5])],
    ids=["every_batch_a_step", "two_batches_a_step"],
)
def test_every_so_many_optimizer_steps_have_one_point_of_each_curve(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
    num_accumulated: int,
    epochs: int,
    steps: list[int],
) -> None:
    training = replace(TRAINING, epochs=epochs, accumulate_grad_batches=num_accumulated)
    run_training(make_features(), tmp_path, reporter=reporter, store=folder_store, training=training)
    assert _points_of_steps(reporter) == steps
    newest = reporter.checkpoints[-1].metrics
    assert newest.keys() == OF_A_STEP | {"val_loss", "val_median_error_m", "val_coverage_68"}
    last = [values for _, _, values in reporter.points if "train_loss" in values][-1]
    assert newest["train_loss"] == last["train_loss"]


def test_the_last_step_of_a_training_that_ends_early_has_a_point(
    make_features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    reporter = make_reporter(finish_at_step=1)
    run_training(make_features(), tmp_path, reporter=reporter, store=folder_store, training=TRAINING)
    assert _points_of_steps(reporter) == [0]


def test_a_step_on_a_cpu_draws_what_torch_draws_after_the_same_seed() -> None:
    torch.manual_seed(2**62 + 5)
    expected = torch.rand(3)
    _seed(2**62 + 5, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)
