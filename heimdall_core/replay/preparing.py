"""What a replay reads, put together of what lies on this machine and what the store has."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.domain.ports import ObjectStore, Reporter, StoredObject
from heimdall_core.local.recordings import import_folder
from heimdall_core.local.run_files import CHECKPOINTS
from heimdall_core.replay.dataset import ReplayData, StoreWithFiles, find_dataset, require_same
from heimdall_core.replay.record import BEST_WEIGHTS, RunRecord
from heimdall_core.storage import FolderStore
from heimdall_core.storage.s3 import hash_file

_INIT_URI = "s3://this-machine/init.ckpt"
_THEN_URI = "s3://this-machine/then.ckpt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things lie on this machine, as far as anybody said."""

    beside: Path | None = None
    """The folder of the run's manifest, if that is a file: results of ``heimdall train`` lie together."""
    dataset: Path | None = None
    data_dir: Path | None = None
    validation_split: float | None = None
    init_from: Path | None = None


def prepare(
    record: RunRecord, places: Places, store: ObjectStore, *, output_dir: Path, reporter: Reporter
) -> tuple[RunRecord, ReplayData]:
    """The record with its files found, and the recordings.

    Raises:
        InvalidRequest: the manifest does not say where the dataset lies; or as ``import_folder``.
        DataError: the dataset or the weights to start from are others than those of then, or damaged.
        NotFound, StorageUnavailable: as the store says.
    """
    if places.data_dir is None:
        manifest = find_dataset(record, store, file=places.dataset, beside=places.beside)
    else:
        manifest = import_folder(
            places.data_dir, output_dir, reporter, validation_split=places.validation_split
        )
        require_same(record, manifest, str(places.data_dir))
        store = FolderStore(output_dir)
    record, files = _with_files(record, places)
    return record, ReplayData(manifest=manifest, store=StoreWithFiles(store, files))


def _with_files(record: RunRecord, places: Places) -> tuple[RunRecord, Mapping[str, Path]]:
    files: dict[str, Path] = {}
    if (start := _start(record, places.init_from)) is not None:
        record = replace(record, init_weights=_at(start, _INIT_URI))
        files[_INIT_URI] = start
    if (best := _best_beside(record, places.beside)) is not None:
        record = replace(record, weights_file=_at(best, _THEN_URI))
        files[_THEN_URI] = best
    return record, files


def _at(path: Path, uri: str) -> StoredObject:
    sha256, num_bytes = hash_file(path)
    return StoredObject(uri=uri, sha256=sha256, num_bytes=num_bytes)


def _start(record: RunRecord, given: Path | None) -> Path | None:
    """The file to start from; refused unless it is the one of then."""
    if given is None:
        return None
    if record.init_weights is None:
        raise InvalidRequest(
            "the training started from no weights",
            code="init_from_does_not_fit",
            hint="Leave out --init-from.",
        )
    if not given.is_file():
        raise InvalidRequest(
            f"no file {given}", code="checkpoint_not_found", hint="Give another --init-from."
        )
    if hash_file(given)[0] != record.init_weights.sha256:
        raise DataError(
            f"{given} is not what the training started from: its SHA-256 is not {record.init_weights.sha256}",
            code="object_changed",
            hint="Give the file of then.",
        )
    return given


def _best_beside(record: RunRecord, folder: Path | None) -> Path | None:
    """The weights of then in the folder of results; None if there are none, or others."""
    stated = record.weights_file
    if folder is None or stated is None:
        return None
    places = (folder / CHECKPOINTS / BEST_WEIGHTS, folder / BEST_WEIGHTS)
    return next((p for p in places if p.is_file() and hash_file(p)[0] == stated.sha256), None)
