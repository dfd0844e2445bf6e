"""Which checkpoints lie on the disk, and that none of them is torn."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import pytest
import torch

from heimdall_core.training.callbacks import BestCheckpoints, DurableCheckpoints
from heimdall_core.training.checkpoint_files import WholeFiles


@pytest.fixture
def small_disk() -> Iterator[None]:
    """A disk that takes 4096 bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class _Trainer:
    """What the callback asks of a trainer."""

    def __init__(self) -> None:
        self.current_epoch = self.global_step = -1
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.saved: list[Path] = []

    def save_checkpoint(self, path: Path) -> None:
        self.saved.append(path)
        path.write_text(str(self.global_step))


class _Durable:
    """Writes ``last.ckpt`` by itself after every second epoch."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self.steps: list[int] = []

    def write(self, trainer: _Trainer) -> Path:
        if trainer.global_step not in self.steps:
            self.steps.append(trainer.global_step)
            part = self.path.with_suffix(".part")
            part.write_text(str(trainer.global_step))
            part.replace(self.path)
        return self.path


def _train(best: BestCheckpoints, losses: list[float], durable: _Durable | None = None) -> _Trainer:
    trainer = _Trainer()
    for epoch, loss in enumerate(losses):
        trainer.current_epoch, trainer.global_step = epoch, 10 * epoch
        trainer.callback_metrics = {"val_loss": torch.tensor(loss)}
        if durable is not None and epoch % 2:
            durable.write(trainer)
        best.on_train_epoch_end(cast("pl.Trainer", trainer), pl.LightningModule())
    return trainer


def test_a_checkpoint_that_the_disk_does_not_take_leaves_the_one_before_it(
    tmp_path: Path, small_disk: None
) -> None:
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)
    with pytest.raises(OSError, match="File too large"):
        WholeFiles().save_checkpoint({"step": 2, "weights": torch.zeros(10_000)}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_three_epochs_with_the_least_loss_are_kept_whatever_their_order(tmp_path: Path) -> None:
    trainer = _train(BestCheckpoints(tmp_path), [5.0, 3.0, 4.0, 6.0, 2.0, 4.0])
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "epoch=0001-val_loss=3.0000.ckpt",
        "epoch=0002-val_loss=4.0000.ckpt",
        "epoch=0004-val_loss=2.0000.ckpt",
    ]
    assert len(trainer.saved) == 4


def test_a_checkpoint_is_written_once_for_all_its_names_and_not_at_all_for_none(tmp_path: Path) -> None:
    durable = _Durable(tmp_path)
    best = BestCheckpoints(tmp_path, cast("DurableCheckpoints", durable))
    trainer = _train(best, [3.0, 2.0, 1.0, 4.0, 5.0], durable)
    assert trainer.saved == []
    assert durable.steps == [0, 10, 20, 30]
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "last.ckpt": "30",
        "epoch=0000-val_loss=3.0000.ckpt": "0",
        "epoch=0001-val_loss=2.0000.ckpt": "10",
        "epoch=0002-val_loss=1.0000.ckpt": "20",
    }
