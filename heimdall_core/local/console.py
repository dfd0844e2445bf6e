"""What a local run prints: phases, epochs, files; at the end the model beside the baselines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heimdall_core.domain.errors import HeimdallError
from heimdall_core.domain.job import JobPhase
from heimdall_core.domain.ports import Artifact, Checkpoint, Progress, StopRequest
from heimdall_core.local.interruption import Interruption

_KILO = 1000.0
_MINUTE_SECONDS = 60
_WIDE = 1000


class ConsoleReporter:
    """Prints phases, events and epochs; remembers checkpoints and files."""

    def __init__(self, console: Console, interruption: Interruption | None = None) -> None:
        self._console = console
        self._interruption = interruption
        self._progress = Progress()
        self._train_loss: float | None = None
        self.newest_checkpoint: Checkpoint | None = None
        self.artifacts: list[Artifact] = []

    def phase(self, phase: JobPhase) -> None:
        """A new phase begins."""
        self._console.print(f"[bold]{phase}[/]")

    def progress(self, progress: Progress) -> None:
        """Remembered for the next line."""
        self._progress = progress

    def metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """One line per validation."""
        self._train_loss = values.get("train_loss", self._train_loss)
        if "val_loss" not in values:
            return
        parts = [f"epoch {epoch}/{self._progress.epochs or '?'}", f"step {self._progress.step or step}"]
        if self._train_loss is not None:
            parts.append(f"train_loss {self._train_loss:.4g}")
        parts += [_named(name, value) for name, value in values.items() if name.startswith("val_")]
        parts.append(f"{self._progress.samples_per_second or 0.0:.0f} sessions/s")
        self._say("  " + "  ".join(parts))

    def event(self, name: str, **data: Any) -> None:
        """One line."""
        self._say(f"  {name} " + " ".join(f"{key}={_short(value)}" for key, value in data.items()))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Remembered."""
        self.newest_checkpoint = checkpoint

    def artifact(self, artifact: Artifact) -> None:
        """Remembered."""
        self.artifacts.append(artifact)

    def stop_requested(self) -> StopRequest | None:
        """Whether Ctrl-C was pressed."""
        return "cancel" if self._interruption is not None and self._interruption.requested else None

    def finish_requested(self) -> bool:
        """Never: Ctrl-C keeps the newest checkpoint, which ``--export-only`` makes a model of."""
        return False

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)


def show_result(console: Console, result: Mapping[str, Any]) -> None:
    """The model beside the baselines on the test split, the files, where they are and how long it took."""
    _show_table(console, _comparison(result))
    _show_table(console, _files(result["files"], Path(result["output_dir"])))
    onnx = result["onnx_path"] or "none (export.enabled is false)"
    console.print(f"ONNX: {onnx}", markup=False)
    console.print(f"elapsed: {_duration(result['elapsed_seconds'])}", markup=False)


def show_error(console: Console, error: HeimdallError) -> None:
    """One line: code, what went wrong, what to do."""
    remedy = f" [dim]{escape(error.hint)}[/]" if error.hint else ""
    message = escape(error.message.rstrip("."))
    console.print(f"[bold red]{error.stable_code}[/]: {message}.{remedy}")


def _show_table(console: Console, table: Table) -> None:
    """Prints a table with every cell whole; a narrow terminal wraps its lines itself."""
    needed = table.__rich_measure__(console, console.options.update_width(_WIDE)).maximum
    Console(file=console.file, width=max(console.width, needed), highlight=False).print(table)


def _comparison(result: Mapping[str, Any]) -> Table:
    sessions = result["dataset"]["num_sessions"]["test"]
    table = Table(f"test split, {sessions} sessions", "model", *result["baselines"], box=None, pad_edge=False)
    for name, value in result["metrics"].items():
        others = [baseline.get(name) for baseline in result["baselines"].values()]
        table.add_row(name, *(_value(name, number) for number in (value, *others)))
    return table


def _files(files: Sequence[Mapping[str, Any]], output_dir: Path) -> Table:
    table = Table(
        "file", "size", title=f"Files in {output_dir}", title_justify="left", box=None, pad_edge=False
    )
    for file in files:
        path = Path(file["path"])
        shown = path.relative_to(output_dir) if path.is_relative_to(output_dir) else path
        table.add_row(escape(str(shown)), _size(file["bytes"]))
    return table


def _named(name: str, value: float) -> str:
    return f"{name.removesuffix('_m')} {_value(name, value)}"


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} m" if name.endswith("_m") else f"{value:.4g}"


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if num_bytes < _KILO:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= _KILO
    return f"{num_bytes:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < _MINUTE_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_SECONDS)
    return f"{minutes} min {rest:02d} s"
