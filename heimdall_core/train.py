"""``python -m heimdall_core.train``: trains on a manifest without any service, into a folder."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from heimdall_core.domain.errors import DataError, HeimdallError
from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import Artifact, Checkpoint, ObjectStore, Progress, StopRequest, StoredObject
from heimdall_core.domain.spec import BACKBONES, ModelSpec, TrainingSpec, TrainJobSpec, train_spec_from_dict
from heimdall_core.settings import StorageSettings
from heimdall_core.storage import FolderStore, S3Store
from heimdall_core.storage.folder import DEFAULT_MEDIA_TYPE

_TRAINING_FLAGS = ("epochs", "batch_size", "learning_rate", "seed")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; what is not given is None."""
    parser = argparse.ArgumentParser(prog="python -m heimdall_core.train", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="frozen dataset manifest, JSON")
    parser.add_argument(
        "--store-root", required=True, help="folder that holds bucket/key, or an S3 endpoint URL"
    )
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help="where results go")
    parser.add_argument("--config", type=Path, help="JSON of a train job, or of some of its members")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--backbone", choices=BACKBONES)
    return parser.parse_args(arguments)


def load_training_config(arguments: argparse.Namespace, manifest: Manifest) -> TrainJobSpec:
    """The job's specification: the file's, overridden by the flags.

    Raises:
        DataError: the file is no JSON object, or has a member that no job has.
    """
    data = {} if arguments.config is None else _read_object(arguments.config)
    training, model = dict(data.pop("training", {})), dict(data.pop("model", {}))
    flags = {name: getattr(arguments, name) for name in _TRAINING_FLAGS}
    training.update({name: value for name, value in flags.items() if value is not None})
    if arguments.backbone is not None:
        model["backbone"] = arguments.backbone
    _refuse_unknown(training, {f.name for f in fields(TrainingSpec)}, "training.")
    _refuse_unknown(model, {f.name for f in fields(ModelSpec)}, "model.")
    _refuse_unknown(data, {f.name for f in fields(TrainJobSpec)}, "")
    dataset = {"name": manifest.name, "version": manifest.version}
    return train_spec_from_dict({**data, "dataset": dataset, "training": training, "model": model})


class ConsoleReporter:
    """Prints phases, events and validation metrics."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress()

    def phase(self, phase: JobPhase) -> None:
        """A new phase begins."""
        self._console.print(f"[bold]{phase}[/]")

    def progress(self, progress: Progress) -> None:
        """Remembered for the next line."""
        self._progress = progress

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """One line per validation."""
        if "val_loss" in values:
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            speed = self._progress.samples_per_second or 0.0
            self._console.print(f"  epoch {epoch}  step {step}  {numbers}  {speed:.0f} sessions/s")

    def event(self, name: str, **data: Any) -> None:
        """One line."""
        self._console.print(f"  {name} {json.dumps(data, default=str)}", markup=False)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """One line."""
        self._console.print(f"  checkpoint {checkpoint.object.uri}", markup=False)

    def artifact(self, artifact: Artifact) -> None:
        """One line."""
        self._console.print(f"  {artifact.name}  {artifact.object.num_bytes:,} bytes", markup=False)

    def stop_requested(self) -> StopRequest | None:
        """Never: Ctrl-C ends the process."""
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, and prints the metrics and the time it took."""
    options = parse_arguments(arguments)
    console = Console()
    began_at = time.monotonic()
    try:
        manifest = Manifest.from_dict(_read_object(options.manifest))
        result = _train(options, manifest, ConsoleReporter(console))
    except HeimdallError as error:
        console.print(f"[red]{error.stable_code}[/]: {error.message} {error.hint or ''}")
        return 1
    _print_result(console, result)
    console.print(f"{time.monotonic() - began_at:.1f} s; files in {options.output_dir.resolve()}")
    return 0


class RunStore:
    """Reads recordings where they are and writes results into a folder: ``s3://NAME/file`` is NAME/file."""

    def __init__(self, recordings: ObjectStore, output_dir: Path) -> None:
        self._recordings = recordings
        self._output = FolderStore(output_dir.resolve().parent)

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """A recording, or a range of it."""
        return self._recordings.get_bytes(uri, offset=offset, num_bytes=num_bytes)

    def get_file(self, uri: str, path: Path) -> None:
        """A recording as a file."""
        self._recordings.get_file(uri, path)

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Writes a result."""
        return self._output.put_bytes(uri, data, media_type=media_type)

    def put_file(self, uri: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Writes a result."""
        return self._output.put_file(uri, path, media_type=media_type)


def open_recordings(store_root: str) -> ObjectStore:
    """A folder, or an S3 endpoint with the credentials of ``AWS_ACCESS_KEY_ID`` and its companion.

    Raises:
        DataError: there is no such folder, or the credentials are not set.
    """
    if not store_root.startswith(("http://", "https://")):
        if not Path(store_root).is_dir():
            raise DataError(f"no folder {store_root}", code="no_store")
        return FolderStore(Path(store_root))
    try:
        settings = StorageSettings(
            endpoint_url=store_root,
            access_key_id=SecretStr(os.environ["AWS_ACCESS_KEY_ID"]),
            secret_access_key=SecretStr(os.environ["AWS_SECRET_ACCESS_KEY"]),
        )
    except KeyError as error:
        raise DataError(f"{error.args[0]} is not set", code="no_credentials") from error
    return S3Store(settings)


def _train(options: argparse.Namespace, manifest: Manifest, reporter: ConsoleReporter) -> dict[str, Any]:
    from heimdall_core.pipeline import TrainingPipeline

    output_dir: Path = options.output_dir.resolve()
    output_dir.mkdir(parents=True, exist_ok=True)
    pipeline = TrainingPipeline(
        spec=load_training_config(options, manifest),
        manifest=manifest,
        store=RunStore(open_recordings(options.store_root), output_dir),
        reporter=reporter,
        output_uri=f"s3://{output_dir.name}",
        workspace=output_dir / "work",
        cache_dir=output_dir / "cache",
        run_name=manifest.name,
        tags={},
    )
    return pipeline.run()


def _print_result(console: Console, result: Mapping[str, Any]) -> None:
    table = Table("metric", "model", *result["baselines"])
    for name, value in result["metrics"].items():
        others = [baseline.get(name) for baseline in result["baselines"].values()]
        table.add_row(name, *("-" if v is None else f"{v:.4g}" for v in (value, *others)))
    console.print(table)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}", code="bad_json") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object", code="bad_json")
    return content


def _refuse_unknown(data: Mapping[str, Any], known: set[str], prefix: str) -> None:
    if unknown := sorted(data.keys() - known):
        raise DataError(f"a job has no {', '.join(prefix + name for name in unknown)}", code="unknown_field")


if __name__ == "__main__":
    sys.exit(main())
