"""``python -m heimdall_core.train``: trains without any service, into a folder."""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console

from heimdall_core.domain.errors import DataError, HeimdallError, InvalidRequest
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import Backbone, TrainJobSpec
from heimdall_core.local.arguments import PROGRAM, UsageError
from heimdall_core.local.arguments import parse_arguments as parse
from heimdall_core.local.checkpoints import (
    network_of,
    plane_scale_of,
    require_fitting,
    require_same_network,
    resume_point,
)
from heimdall_core.local.configuration import load_training_config, read_object
from heimdall_core.local.console import ConsoleReporter, show_error, show_result
from heimdall_core.local.interruption import Interruption
from heimdall_core.local.recordings import dataset_name, import_folder
from heimdall_core.local.run_files import CHECKPOINTS, RunStore, open_recordings

if TYPE_CHECKING:
    from heimdall_core.tracking import TrackingTarget

__all__ = ["RunStore", "load_training_config", "main", "open_recordings", "parse_arguments"]

USAGE_STATUS = 2


def parse_arguments(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> argparse.Namespace:
    """Reads the command line; what is not given is None."""
    return parse(sys.argv[1:] if arguments is None else arguments, program=program)


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Trains, prints the outcome and the time it took; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse_arguments(given, program=program)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    console = errors if options.as_json else Console(highlight=False, soft_wrap=True)
    began_at = time.monotonic()
    with Interruption(lambda line: console.print(line, markup=False)) as interruption:
        run = _Run(options, ConsoleReporter(console, interruption))
        try:
            result = run.result() | {"elapsed_seconds": round(time.monotonic() - began_at, 3)}
        except JobStopped:
            _tell_stopped(errors, run, f"{program} {shlex.join(given)}")
            return interruption.exit_status
        except HeimdallError as error:
            show_error(errors, error)
            return USAGE_STATUS if isinstance(error, UsageError) else 1
    if options.as_json:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    else:
        show_result(console, result)
    return 0


class _Run:
    """One run from its options to its files."""

    def __init__(self, options: argparse.Namespace, reporter: ConsoleReporter) -> None:
        self._options = options
        self._reporter = reporter
        self._output_dir: Path = options.output_dir.resolve()
        self._checkpoint_dir: Path = (options.checkpoint_dir or self._output_dir / CHECKPOINTS).resolve()
        self._store: RunStore | None = None

    @property
    def newest_checkpoint(self) -> Path | None:
        """The newest durable checkpoint that this run wrote."""
        checkpoint = self._reporter.newest_checkpoint
        return self._store.path_of(checkpoint.object.uri) if checkpoint and self._store else None

    def result(self) -> dict[str, Any]:
        """Trains or exports; the pipeline's result, and the files.

        Raises:
            HeimdallError: as the options, the recordings and the pipeline say.
            JobStopped: Ctrl-C was pressed.
        """
        options = self._options
        tracking = _tracking(options.experiment_name)
        network: dict[str, Any] = {}
        if begins_with := options.checkpoint or options.init_from:
            network = network_of(begins_with, resumable=options.resume_training)
        if options.data_dir is not None:
            _require_possible(load_training_config(options, _unread(options.data_dir), network=network))
        _make_folder(self._output_dir)
        manifest = self._manifest()
        spec = load_training_config(options, manifest, network=network)
        _require_possible(spec)
        if options.checkpoint:
            require_same_network(options.checkpoint, spec.model, manifest)
        if options.init_from:
            require_fitting(options.init_from, spec.model)
        root = options.store_root or str(self._output_dir)
        self._store = RunStore(open_recordings(root), self._output_dir, self._checkpoint_dir)
        return self._described(self._run_pipeline(spec, manifest, self._store, tracking))

    def _manifest(self) -> Manifest:
        options = self._options
        if options.manifest is not None:
            return read_manifest(options.manifest)
        return import_folder(
            options.data_dir, self._output_dir, self._reporter, validation_split=options.validation_split
        )

    def _run_pipeline(
        self, spec: TrainJobSpec, manifest: Manifest, store: RunStore, tracking: "TrackingTarget | None"
    ) -> dict[str, Any]:
        from heimdall_core.pipeline import TrainingPipeline

        options = self._options
        resume_from, plane_scale_km = None, None
        if options.resume_training:
            resume_from = resume_point(options.checkpoint, store, epochs=spec.training.epochs)
            plane_scale_km = plane_scale_of(options.checkpoint)
        with _workspace(self._output_dir) as workspace:
            pipeline = TrainingPipeline(
                spec=spec,
                manifest=manifest,
                store=store,
                reporter=self._reporter,
                output_uri=store.output_uri,
                workspace=workspace,
                cache_dir=self._output_dir / "cache",
                tracking=tracking,
                run_name=_run_name(options, manifest),
                tags=dict(spec.tags),
                resume_from=resume_from,
                init_weights=store.add_file(options.init_from) if options.init_from else None,
                pretrained_dir=_pretrained_dir(),
                plane_scale_km=plane_scale_km,
            )
            return pipeline.run_export_only(options.checkpoint) if options.export_only else pipeline.run()

    def _described(self, result: Mapping[str, Any]) -> dict[str, Any]:
        assert self._store is not None, "the pipeline wrote through it"
        artifacts = self._reporter.artifacts
        files = [
            {"path": str(self._store.path_of(a.object.uri)), "bytes": a.object.num_bytes} for a in artifacts
        ]
        if newest := self.newest_checkpoint:
            files.append({"path": str(newest), "bytes": newest.stat().st_size})
        onnx = result["onnx"]
        return {
            **result,
            "output_dir": str(self._output_dir),
            "onnx_path": str(self._store.path_of(onnx["uri"])) if onnx else None,
            "files": files,
        }


def read_manifest(path: Path) -> Manifest:
    """A frozen manifest.

    Raises:
        InvalidRequest: the file is no JSON object.
        DataError: it is no manifest, or of another schema.
    """
    content = read_object(path)
    try:
        return Manifest.from_dict(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no dataset manifest",
            code="bad_manifest",
            hint="The service hands it out: GET /v1/datasets/NAME/versions/N, manifest.download_url.",
        ) from error


def _unread(data_dir: Path) -> Manifest:
    """What is known of a folder before it is read: enough to check the configuration first."""
    name = dataset_name(data_dir)
    return Manifest(
        name=name, version=1, origin_latitude=0.0, origin_longitude=0.0, receivers=(), sessions=()
    )


def _require_possible(spec: TrainJobSpec) -> None:
    """Refuses early what only torch and the networks know to be impossible."""
    if spec.resources.accelerator == "gpu" and not _has_gpu():
        raise InvalidRequest(
            "--accelerator gpu (resources.accelerator): torch sees no GPU",
            code="no_gpu",
            hint="Use cpu or auto, or install torch for your GPU.",
        )
    if spec.model.pretrained and not _has_weights(spec.model.backbone):
        raise InvalidRequest(
            f"--pretrained (model.pretrained): no weights are published for {spec.model.backbone}",
            code="no_pretrained_weights",
            hint="Leave it out, or choose a larger backbone.",
        )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _has_weights(backbone: Backbone) -> bool:
    from heimdall_core.networks.backbone import SIZES

    return SIZES[backbone].weights is not None


def _tracking(experiment: str | None) -> "TrackingTarget | None":
    from heimdall_core.tracking import local_target

    try:
        target = local_target(experiment=experiment, fallback_uri=os.environ.get("MLFLOW_TRACKING_URI"))
    except ValidationError as error:
        raise InvalidRequest(
            f"HEIMDALL_TRACKING__*: {error}", code="invalid_settings", hint="Correct it, or leave it out."
        ) from None
    if target is None and experiment is not None:
        raise UsageError(
            "--experiment-name: no MLflow is named",
            hint="Set HEIMDALL_TRACKING__URI or MLFLOW_TRACKING_URI, or leave it out.",
        )
    return target


def _pretrained_dir() -> Path | None:
    folder = os.environ.get("HEIMDALL_WORKER__PRETRAINED_DIR")
    return Path(folder) if folder else None


def _run_name(options: argparse.Namespace, manifest: Manifest) -> str:
    if options.run_name_prefix is not None:
        return f"{options.run_name_prefix}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    return str(options.run_name or manifest.name)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} cannot be made: {error.strerror}",
            code="output_unwritable",
            hint="Give another --output-dir.",
        ) from error


@contextmanager
def _workspace(output_dir: Path) -> Iterator[Path]:
    """A folder of this run's own, removed at its end."""
    path = Path(tempfile.mkdtemp(prefix=".work-", dir=output_dir))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _tell_stopped(console: Console, run: _Run, command: str) -> None:
    newest = run.newest_checkpoint
    if newest is None:
        console.print("stopped; there was no checkpoint yet")
        return
    console.print(f"stopped; the newest checkpoint is {newest}. To train on:", markup=False)
    console.print(f"  {resume_command(command, newest)}", markup=False)


_WITH_VALUE = ("--checkpoint", "--init-from", "--init_from")
_NOT_RESUMED = {*_WITH_VALUE, "--resume-training", "--resume_training", "--pretrained"}
"""Said anew for a resumed run, or already in its checkpoint's weights."""


def resume_command(command: str, checkpoint: Path) -> str:
    """The command that continues a stopped one."""
    words = shlex.split(command)
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and word not in _NOT_RESUMED:
            kept.append(word)
        skip = word in _WITH_VALUE
    kept = [word for word in kept if not word.startswith(tuple(f"{flag}=" for flag in _WITH_VALUE))]
    return shlex.join([*kept, "--checkpoint", str(checkpoint), "--resume-training"])


if __name__ == "__main__":
    sys.exit(main())
