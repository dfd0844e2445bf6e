"""Checkpoints that outlive the machine: uploaded beside the training, verified before they are trusted."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heimdall_core.domain.errors import DataError, HeimdallError, InfrastructureError
from heimdall_core.domain.ports import Checkpoint, ObjectStore, StoredObject
from heimdall_core.storage.s3 import hash_file
from heimdall_core.training.reporting import JobReporter


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCheckpoint:
    """A file that is to become durable; the uploader deletes it afterwards."""

    path: Path
    name: str
    epoch: int
    step: int
    metrics: dict[str, float]
    at_epoch_end: bool = True


class CheckpointUploader:
    """Uploads on a thread of its own. While one upload runs, only the newest of the others is kept.

    A failed upload is reported as the event ``checkpoint_upload_failed`` and dropped: the next one carries
    more, and the local checkpoint stays.
    """

    def __init__(self, store: ObjectStore, base_uri: str, reporter: JobReporter) -> None:
        self._store = store
        self._base_uri = base_uri.rstrip("/")
        self._reporter = reporter
        self._changed = threading.Condition()
        self._waiting: LocalCheckpoint | None = None
        self._busy = False
        self._closed = False
        self._newest: Checkpoint | None = None
        self._thread = threading.Thread(target=self._run, name="checkpoint-upload", daemon=True)
        self._thread.start()

    @property
    def newest(self) -> Checkpoint | None:
        """The newest that is durable."""
        return self._newest

    def submit(self, checkpoint: LocalCheckpoint) -> None:
        """Takes over the file; returns at once."""
        with self._changed:
            replaced, self._waiting = self._waiting, checkpoint
            self._changed.notify_all()
        if replaced is not None:
            replaced.path.unlink(missing_ok=True)

    def flush(self, deadline_seconds: float) -> bool:
        """Waits until everything is uploaded or has failed; False if the deadline comes first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting is None and not self._busy, deadline_seconds)

    def close(self, deadline_seconds: float) -> None:
        """Finishes what is waiting within the deadline and ends the thread."""
        self.flush(deadline_seconds)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while (checkpoint := self._next()) is not None:
            try:
                self._upload(checkpoint)
            finally:
                checkpoint.path.unlink(missing_ok=True)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> LocalCheckpoint | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            checkpoint, self._waiting = self._waiting, None
            self._busy = checkpoint is not None and not self._closed
            return checkpoint if self._busy else None

    def _upload(self, checkpoint: LocalCheckpoint) -> None:
        uri = f"{self._base_uri}/{checkpoint.name}"
        try:
            stored = self._store.put_file(uri, checkpoint.path)
            _require_same_bytes(stored, checkpoint.path)
        except (HeimdallError, OSError) as error:
            code = error.stable_code if isinstance(error, HeimdallError) else "local_file"
            self._reporter.event(
                "checkpoint_upload_failed", uri=uri, step=checkpoint.step, code=code, message=str(error)
            )
            return
        self._newest = Checkpoint(
            object=stored,
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            metrics=dict(checkpoint.metrics),
            at_epoch_end=checkpoint.at_epoch_end,
        )
        self._reporter.checkpoint(self._newest)


def _require_same_bytes(stored: StoredObject, path: Path) -> None:
    sha256, num_bytes = hash_file(path)
    if (stored.sha256, stored.num_bytes) != (sha256, num_bytes):
        raise DataError(f"{stored.uri} does not hold the bytes of {path.name}", code="checkpoint_corrupt")


def fetch_checkpoint(checkpoint: Checkpoint, store: ObjectStore, path: Path) -> Path:
    """Downloads a durable checkpoint and verifies its checksum and that it can be read.

    Raises:
        DataError: the bytes are not those that were recorded, or no checkpoint of this program.
        HeimdallError: the object is gone, or the store did not answer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    store.get_file(checkpoint.object.uri, path)
    sha256, _ = hash_file(path)
    if sha256 != checkpoint.object.sha256:
        raise DataError(
            f"{checkpoint.object.uri} has changed since it was written", code="checkpoint_corrupt"
        )
    load_checkpoint(path)
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's tensors and plain values; no code in it is ever run.

    Raises:
        DataError: the file is damaged or holds more than that.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever the damage makes it trip over
        raise DataError(
            f"{path.name} is not a readable checkpoint: {error}", code="checkpoint_unreadable"
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise DataError(f"{path.name} holds no network", code="checkpoint_unreadable")
    return content


def require_fit(path: Path, module: nn.Module) -> None:
    """Raises DataError unless the checkpoint's weights have the module's names and shapes."""
    found = {name: tensor.shape for name, tensor in load_checkpoint(path)["state_dict"].items()}
    if found != {name: tensor.shape for name, tensor in module.state_dict().items()}:
        raise DataError(f"{path.name} belongs to another network", code="checkpoint_of_other_network")


def usable_checkpoint(
    checkpoint: Checkpoint, store: ObjectStore, path: Path, module: nn.Module, reporter: JobReporter
) -> Path | None:
    """The verified local copy of a durable checkpoint; None, with an event, if it is of no use.

    Raises:
        InfrastructureError: the store did not answer, so the checkpoint may well be good.
    """
    try:
        fetch_checkpoint(checkpoint, store, path)
        require_fit(path, module)
    except InfrastructureError:
        raise
    except HeimdallError as error:
        reporter.event(
            "resume_failed", uri=checkpoint.object.uri, code=error.stable_code, message=error.message
        )
        return None
    reporter.event("resumed", epoch=checkpoint.epoch, step=checkpoint.step)
    return path


class UploadPace:
    """When the next durable checkpoint is due: every so many seconds, more rarely where saving is slow."""

    #: What is written at a 50th of the time leaves 0.98 of the speed.
    SLOWDOWN = 50.0

    def __init__(self, interval_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._next_at = clock() + interval_seconds

    def is_due(self) -> bool:
        """Whether a checkpoint should be made durable now."""
        return self._clock() >= self._next_at

    def saved(self, cost_seconds: float) -> None:
        """One was made, which held the training up for so long."""
        self._next_at = self._clock() + max(self._interval_seconds, self.SLOWDOWN * cost_seconds)
