"""Uploads happen beside the training: newest first, failures told, damage found."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from heimdall_core.domain.errors import DataError, StorageUnavailable
from heimdall_core.domain.ports import Checkpoint, StoredObject
from heimdall_core.storage import FolderStore
from heimdall_core.training.checkpoints import (
    CheckpointUploader,
    LocalCheckpoint,
    UploadPace,
    fetch_checkpoint,
    load_checkpoint,
    usable_checkpoint,
)
from heimdall_core.training.reporting import JobReporter


class SlowStore(FolderStore):
    """Holds every upload until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def put_file(self, uri: str, path: Path, *, media_type: str = "") -> StoredObject:
        self.begun.set()
        assert self.let_go.wait(10)
        return super().put_file(uri, path, media_type=media_type)


def _local(folder: Path, step: int) -> LocalCheckpoint:
    path = folder / f"{step}.upload"
    path.write_bytes(b"x" * step)
    return LocalCheckpoint(path=path, name=f"step-{step}.ckpt", epoch=1, step=step, metrics={"val_loss": 1.0})


def test_while_one_upload_runs_only_the_newest_of_the_others_is_kept(reporter: Any, tmp_path: Path) -> None:
    store = SlowStore(tmp_path / "store")
    uploader = CheckpointUploader(store, "s3://models/job", JobReporter(reporter))
    uploader.submit(_local(tmp_path, 1))
    assert store.begun.wait(10)
    for step in (2, 3, 4):
        uploader.submit(_local(tmp_path, step))
    assert not uploader.flush(0.01)
    store.let_go.set()
    uploader.close(10)
    assert [c.step for c in reporter.checkpoints] == [1, 4]
    assert list(tmp_path.glob("*.upload")) == []


def test_a_durable_checkpoint_names_its_bytes(reporter: Any, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    uploader = CheckpointUploader(store, "s3://models/job", JobReporter(reporter))
    uploader.submit(_local(tmp_path, 5))
    uploader.close(10)
    (checkpoint,) = reporter.checkpoints
    assert checkpoint.object.uri == "s3://models/job/step-5.ckpt"
    assert checkpoint.object.sha256 == hashlib.sha256(b"xxxxx").hexdigest()
    assert checkpoint.metrics == {"val_loss": 1.0}


def test_the_upload_after_a_refused_one_succeeds(reporter: Any, refusing_store: Any, tmp_path: Path) -> None:
    uploader = CheckpointUploader(refusing_store, "s3://models/checkpoints/", JobReporter(reporter))
    uploader.submit(_local(tmp_path, 1))
    assert uploader.flush(10)
    refusing_store.refused = "nothing"
    uploader.submit(_local(tmp_path, 2))
    uploader.close(10)
    assert [e["step"] for e in reporter.events_named("checkpoint_upload_failed")] == [1]
    assert [c.step for c in reporter.checkpoints] == [2]


def test_an_object_that_has_changed_is_refused(folder_store: FolderStore, tmp_path: Path) -> None:
    stored = folder_store.put_bytes("s3://models/a.ckpt", b"first")
    folder_store.put_bytes("s3://models/a.ckpt", b"second")
    with pytest.raises(DataError) as raised:
        fetch_checkpoint(Checkpoint(object=stored, epoch=1, step=1), folder_store, tmp_path / "a.ckpt")
    assert raised.value.stable_code == "checkpoint_corrupt"


def test_a_checkpoint_with_code_in_it_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"state_dict": {}, "trap": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(DataError) as raised:
        load_checkpoint(tmp_path / "trap.ckpt")
    assert raised.value.stable_code == "checkpoint_unreadable"
    assert not (tmp_path / "executed").exists()


def test_a_store_that_does_not_answer_is_not_mistaken_for_a_bad_checkpoint(
    reporter: Any, tmp_path: Path
) -> None:
    class Silent(FolderStore):
        def get_file(self, uri: str, path: Path) -> None:
            raise StorageUnavailable(f"{uri}: timed out")

    stored = StoredObject(uri="s3://models/a.ckpt", sha256="0", num_bytes=1)
    checkpoint = Checkpoint(object=stored, epoch=1, step=1)
    with pytest.raises(StorageUnavailable):
        usable_checkpoint(
            checkpoint, Silent(tmp_path), tmp_path / "a.ckpt", torch.nn.Linear(1, 1), JobReporter(reporter)
        )
    assert reporter.events == []


def test_a_checkpoint_that_is_gone_is_told_and_training_starts_anew(
    reporter: Any, folder_store: FolderStore, tmp_path: Path
) -> None:
    stored = StoredObject(uri="s3://models/a.ckpt", sha256="0", num_bytes=1)
    path = usable_checkpoint(
        Checkpoint(object=stored, epoch=1, step=1),
        folder_store,
        tmp_path / "a.ckpt",
        torch.nn.Linear(1, 1),
        JobReporter(reporter),
    )
    assert path is None
    assert reporter.events_named("resume_failed")[0]["code"] == "object_not_found"


def test_checkpoints_that_are_slow_to_write_come_more_rarely() -> None:
    now = 0.0
    pace = UploadPace(30.0, clock=lambda: now)
    now = 29.0
    assert not pace.is_due()
    now = 30.0
    assert pace.is_due()
    pace.saved(cost_seconds=10.0)
    now = 30.0 + 10.0 * UploadPace.SLOWDOWN - 1
    assert not pace.is_due()
    now += 1
    assert pace.is_due()
