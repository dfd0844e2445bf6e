"""The training itself, done again as the record says, and judged."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import torch
from rich.console import Console

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.spec import ExportSpec, TrainJobSpec
from heimdall_core.local.console import ConsoleReporter
from heimdall_core.local.interruption import Interruption
from heimdall_core.local.run_files import RunStore
from heimdall_core.pipeline import TrainingPipeline
from heimdall_core.replay.comparison import WeightsVerdict, compare_metrics, compare_weights
from heimdall_core.replay.dataset import ReplayData
from heimdall_core.replay.record import BEST_WEIGHTS, RunRecord
from heimdall_core.training.network import read_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found."""

    weights: WeightsVerdict
    metrics: dict[str, dict[str, float | None]]
    """Of the test split: ``then``, ``now``, ``difference``."""

    def to_dict(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {"agree": self.weights.agree, "weights": asdict(self.weights), "metrics": self.metrics}


class ReplayReporter(ConsoleReporter):
    """Ends the training at the step at which it ended then, whether patience or a person had ended it."""

    def __init__(self, console: Console, interruption: Interruption | None, num_steps: int | None) -> None:
        super().__init__(console, interruption)
        self._num_steps = num_steps

    def finish_requested(self) -> bool:
        """Whether the last step of then is done and the specification would go on."""
        done, of = self._progress.step or 0, self._progress.steps or 0
        return self._num_steps is not None and self._num_steps <= done < of


def replay_training(
    record: RunRecord,
    data: ReplayData,
    *,
    reporter: ReplayReporter,
    output_dir: Path,
    pretrained_dir: Path | None = None,
) -> Replay:
    """Trains with the threads, the device and the precision of then, and compares what comes of it.

    Raises:
        HeimdallError: as ``TrainingPipeline.run`` and ``compare_weights``.
        JobStopped: the reporter asked for it.
    """
    if record.num_threads is not None:
        torch.set_num_threads(record.num_threads)
    store = RunStore(data.store, output_dir)
    with TemporaryDirectory(prefix=".work-", dir=output_dir) as folder:
        workspace = Path(folder)
        result = TrainingPipeline(
            spec=spec_of(record),
            manifest=data.manifest,
            store=store,
            reporter=reporter,
            output_uri=store.output_uri,
            workspace=workspace,
            cache_dir=output_dir / "cache",
            run_name=f"replay of {record.run_name}",
            tags={},
            init_weights=record.init_weights,
            pretrained_dir=pretrained_dir,
        ).run()
        best = store.path_of(f"{store.output_uri}/{BEST_WEIGHTS}")
        verdict = compare_weights(
            read_weights(best).weights,
            recorded_sha256=record.weights_sha256,
            former=record.weights_file,
            store=data.store,
            folder=workspace,
        )
    return Replay(weights=verdict, metrics=compare_metrics(record.metrics, result["metrics"]))


def spec_of(record: RunRecord) -> TrainJobSpec:
    """The specification with what ``auto`` meant then; nothing is exported or registered.

    Raises:
        TrainingError: the device of then is none that a specification can ask for.
    """
    spec = replace(record.spec, export=ExportSpec(enabled=False))
    if record.device is None:
        return spec
    kind = record.device["accelerator"]
    if kind not in {"cpu", "cuda", "mps"}:
        raise TrainingError(f"this version knows no accelerator {kind!r}", code="accelerator_unknown")
    accelerator: Literal["cpu", "gpu"] = "cpu" if kind == "cpu" else "gpu"
    return replace(
        spec,
        training=replace(spec.training, precision=cast("Any", record.device["precision"])),
        resources=replace(spec.resources, accelerator=accelerator),
    )
