"""A training that explodes ends with what its reader needs; one that is merely noisy goes on."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import ModelSpec, ResourcesSpec, TrainingSpec
from heimdall_core.storage import FolderStore
from heimdall_core.training.divergence import PATIENCE, WINDOW, LossWatch
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.trainer import choose_device, resolve_precision

TRAINING = TrainingSpec(epochs=2, batch_size=4, seed=1, early_stopping_patience=None)


def judged_after(losses: list[float]) -> int | None:
    """The batch at which a watch calls it a divergence."""
    watch = LossWatch()
    return next((n for n, loss in enumerate(losses, start=1) if watch.add(loss)), None)


def test_a_loss_that_explodes_is_seen_within_a_few_windows() -> None:
    losses = [8.0, *[5.0] * 25, *[1e4 * 2**n for n in range(60)]]
    found = judged_after(losses)
    assert found is not None
    assert found <= 26 + (PATIENCE + 1) * WINDOW


@pytest.mark.parametrize(
    "losses",
    [
        [8.0 + 4 * math.sin(n) for n in range(500)],
        [8.0, *([3.0] * 40 + [5e3]) * 10],
        [-2.0 + 0.01 * n for n in range(500)],
        [8.0, *[500.0] * 15, *[5.0] * 200],
    ],
    ids=["noise", "single outliers", "negative and drifting", "a rise that comes back"],
)
def test_a_training_that_is_merely_rough_goes_on(losses: list[float]) -> None:
    assert judged_after(losses) is None


def test_an_exploding_training_says_where_why_and_what_is_left(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = LocalizationLightningModule.training_step

    def explode(self: LocalizationLightningModule, batch: Any, batch_idx: int) -> Any:
        loss = computed(self, batch, batch_idx) * 1e-3
        self.last_loss = self.last_loss if self.global_step < 3 else 1e6 + self.global_step
        return loss

    monkeypatch.setattr(LocalizationLightningModule, "training_step", explode)
    with pytest.raises(TrainingError) as raised:
        run_training(
            make_features(),
            tmp_path,
            reporter=reporter,
            store=folder_store,
            training=replace(TRAINING, epochs=50),
            interval_seconds=0.0,
        )
    error = raised.value
    assert (error.stable_code, error.category) == ("diverged", "user")
    for words in (
        "at step ",
        "learning rate ",
        "gradient norm ",
        "weights kept are those of epoch ",
        "durable checkpoint is of step",
    ):
        assert words in error.message
    assert error.hint is not None
    for field in ("training.learning_rate", "training.warmup_epochs", "training.gradient_clip"):
        assert field in error.hint
    assert reporter.checkpoints, "what was durable stays so"


def test_what_the_watch_has_seen_survives_a_resume(
    make_features: Any,
    run_training: Callable[..., Any],
    make_reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    from torch import load

    stopped = make_reporter(stop_at_step=2)
    with pytest.raises(JobStopped):
        run_training(make_features(), tmp_path, reporter=stopped, store=folder_store, training=TRAINING)
    state = load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["StopWhenDiverged"]
    assert len(state["window"]) == 2
    assert state["start"] == state["window"][0]
    assert LossWatch(**state).start == state["start"]


def test_bf16_on_a_cpu_trains(
    make_features: Any,
    run_training: Callable[..., Any],
    reporter: Any,
    folder_store: FolderStore,
    tmp_path: Path,
) -> None:
    training = replace(TRAINING, epochs=15, precision="bf16", augment=False)
    run = run_training(make_features(), tmp_path, reporter=reporter, store=folder_store, training=training)
    assert run.trainer.precision == "bf16-mixed"
    losses = [values["train_loss"] for _, _, values in reporter.points if "train_loss" in values]
    assert all(map(math.isfinite, losses))
    assert sum(losses[-3:]) < sum(losses[:3])


def test_fp16_on_a_cpu_is_refused_by_name() -> None:
    training, resources = replace(TRAINING, precision="fp16"), ResourcesSpec(accelerator="cpu")
    with pytest.raises(TrainingError, match=r"training\.precision") as raised:
        choose_device(training, resources)
    assert raised.value.stable_code == "precision_not_supported"


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_precision_that_the_cpu_can_do_is_taken_as_it_is(asked: str) -> None:
    assert resolve_precision(asked, "cpu", "micro") == asked


@pytest.mark.parametrize(
    ("backbone", "has_amx", "chosen"),
    [("micro", True, "fp32"), ("micro", False, "fp32"), ("atto", True, "bf16"), ("atto", False, "fp32")],
)
def test_auto_on_a_cpu_is_what_is_faster_there(
    monkeypatch: pytest.MonkeyPatch, backbone: Any, has_amx: bool, chosen: str
) -> None:
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: has_amx)
    assert resolve_precision("auto", "cpu", ModelSpec(backbone=backbone).backbone) == chosen
