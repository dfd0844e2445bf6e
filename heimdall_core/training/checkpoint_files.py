"""How Lightning's checkpoints come to the disk."""

from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins import TorchCheckpointIO


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint straight to its file, under another name until it is whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Needs no copy of the checkpoint in memory.

        Raises:
            OSError: the disk is full or broken.
        """
        assert storage_options is None
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        try:
            with part.open("wb") as stream:
                _save(checkpoint, stream)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def _save(checkpoint: dict[str, Any], stream: BinaryIO) -> None:
    try:
        torch.save(checkpoint, stream)
    except RuntimeError as error:
        # Torch trips over the file that is too short before it lets the reason through.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
