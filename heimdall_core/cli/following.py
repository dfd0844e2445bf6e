"""A job followed to its end: a progress bar and curves on a terminal, one line per change elsewhere."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from heimdall_core.cli import curves
from heimdall_core.cli.client import ApiClient, Json, Polled, path_of
from heimdall_core.cli.curves import Curve
from heimdall_core.cli.errors import JobUnsuccessful, RequestRefused, ServerUnreachable
from heimdall_core.cli.output import console, duration, member, metres

POLL_SECONDS = 0.5
#: After so many polls that found a job unchanged its history is asked for all the same.
UNCHANGED_POLLS = 8
#: How long the API may be away before following gives up; the job itself goes on.
PATIENCE_SECONDS = 60.0

#: Events that the bar, or the line after it, tells better.
UNTOLD = frozenset(
    {
        "file_refused",
        "job.queued",
        "job.phase",
        "job.succeeded",
        "job.failed",
        "job.cancelled",
        "files_imported",
    }
)

#: What other events say; any that is missing here is shown as it is.
SENTENCES: Mapping[str, str] = {
    "job.started": "taken by {worker}",
    "job.requeued": "given back to the queue",
    "features_ready": "features of {num_segments} segments are ready (from the cache: {cached})",
    "first_step": "first training step {seconds_since_start} s after the pipeline began",
    "training_finished": "trained {epochs} epochs, {steps} steps; kept the weights of epoch {best_epoch}",
    "labels_suspected": "{count} labels are improbable: `heimdall jobs residuals JOB --suspects` names them",
    "checkpoint.durable": "checkpoint of epoch {epoch} is durable",
    "recordings_read": "{described} recordings described, {refused} refused",
    "import_resumed": "goes on after {files_done} files",
    "warm_started": "started from {model}/{version}: new receivers {receivers_new}, gone {receivers_gone}",
    "resumed": "resumed at epoch {epoch}, step {step}",
    "tracking_unavailable": "MLflow does not answer: {message}; the training goes on without it",
}


def follow(client: ApiClient, job_id: str, *, quiet: bool = False) -> Json:
    """Shows how a job goes until it ends, unless ``quiet``; returns its last form.

    Raises:
        JobUnsuccessful: it failed or was cancelled.
        ServerUnreachable: the API has not answered for a minute.
    """
    polled, last_event, answered_at = Polled(client, path_of("jobs", job_id)), "0", time.monotonic()
    with _display(quiet=quiet) as display:
        while True:
            try:
                job = polled.get()
                events = _new_events(client, polled, last_event)
                display.curves(_new_curves(client, job, display))
            except ServerUnreachable:
                if time.monotonic() - answered_at > PATIENCE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            answered_at = time.monotonic()
            for event in events:
                last_event = event["id"]
                display.event(event)
            display.job(job)
            if job["is_terminal"]:
                return _successful(job)
            time.sleep(POLL_SECONDS)


def _new_events(client: ApiClient, polled: Polled, after: str) -> list[Json]:
    """What has happened; asked for when the job has changed, and now and then, for it need not."""
    if polled.num_unchanged % UNCHANGED_POLLS and not polled.thing["is_terminal"]:
        return []
    found: list[Json] = client.get(path_of("jobs", polled.thing["id"], "events"), after=after)["data"]
    return found


def _new_curves(client: ApiClient, job: Json, display: "_Display") -> Sequence[Curve]:
    """The curves so far, if another epoch has ended since they were shown; an ornament: none if refused."""
    epoch = member(job, "progress", "epoch")
    if job["kind"] != "train" or not display.wants_curves(epoch, is_terminal=job["is_terminal"]):
        return ()
    try:
        found = client.get(path_of("jobs", job["id"], "metrics"), name=list(curves.NAMES))
    except RequestRefused:
        return ()
    return curves.read_curves(found["metrics"])


def _successful(job: Json) -> Json:
    if job["status"] == "succeeded":
        return job
    error = job.get("error") or {}
    message = error.get("message") or f"job {job['status']}"
    code = f" ({error['code']})" if error.get("code") else ""
    raise JobUnsuccessful(
        f"{job['kind']} job {job['id']} {job['status']}: {message}{code}",
        hint=error.get("hint") or f"`heimdall jobs logs {job['id']}` shows what it wrote",
    )


def phase_of(job: Json) -> str:
    """What a job is doing, in one word or two."""
    if job["status"] == "queued":
        position = member(job, "queue", "position")
        reason = str(member(job, "queue", "reason") or "").replace("_", " ")
        facts = ", ".join(str(fact) for fact in (position, reason) if fact)
        return f"queued ({facts})" if facts else "queued"
    return str(job.get("phase") or job["status"]) if job["status"] == "running" else str(job["status"])


def describe(job: Json) -> str:
    """Epoch, loss, error, speed and time left, as far as they are known."""
    progress, metrics = job.get("progress") or {}, job.get("metrics") or {}
    parts: list[str] = []
    if progress.get("epoch") is not None and progress.get("epochs"):
        parts.append(f"epoch {progress['epoch']}/{progress['epochs']}")
    if (loss := _first(metrics, "val_loss", "train_loss")) is not None:
        parts.append(f"loss {loss:z.3f}")
    if (error := metrics.get("val_median_error_m")) is not None:
        parts.append(f"median error {metres(error)}")
    if (speed := progress.get("samples_per_second")) is not None:
        parts.append(f"{speed:.0f} samples/s")
    if (eta := progress.get("eta_seconds")) is not None:
        parts.append(f"{duration(eta)} left")
    return "  ".join(parts)


def _first(values: Mapping[str, float], *names: str) -> float | None:
    return next((values[name] for name in names if values.get(name) is not None), None)


def event_line(event: Json) -> str | None:
    """One event of a job's history as a line, or None where the bar tells it already."""
    name, data = event["event"], event["data"]
    if name in UNTOLD:
        return None
    if name in SENTENCES:
        with suppress(KeyError):
            return "  " + SENTENCES[name].format_map(data)
    facts = "  ".join(f"{key} {_short(value)}" for key, value in data.items() if value is not None)
    return f"  {name.replace('_', ' ')}  {facts}".rstrip()


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 100 else text[:97] + "..."  # noqa: PLR2004 - one line


class _Display(AbstractContextManager["_Display"]):
    """Shows nothing: what the others change."""

    def job(self, job: Json) -> None:
        """Shows how far the job is."""

    def event(self, event: Json) -> None:
        """Shows one event of its history."""

    def wants_curves(self, epoch: object, *, is_terminal: bool) -> bool:  # noqa: ARG002 - what the others look at
        """Whether the curves of this epoch are to be shown."""
        return False

    def curves(self, found: Sequence[Curve]) -> None:
        """Shows the curves, if there are any."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the display down."""


class _Lines(_Display):
    """One line whenever phase or epoch changes: for logs and pipes."""

    def __init__(self) -> None:
        self._told: tuple[object, ...] = ()

    def job(self, job: Json) -> None:
        now = (phase_of(job), member(job, "progress", "epoch"))
        if now != self._told:
            self._told = now
            console.print(f"  {now[0]:<12} {describe(job)}", markup=False)

    def event(self, event: Json) -> None:
        if line := event_line(event):
            console.print(line, markup=False)

    def wants_curves(self, epoch: object, *, is_terminal: bool) -> bool:  # noqa: ARG002 - only the whole is told
        return is_terminal

    def curves(self, found: Sequence[Curve]) -> None:
        for line in curves.summary_lines(found):
            console.print("  " + line, markup=False)


class _Bar(_Display):
    """One bar, and the curves of a training above it: for people."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
        )
        self._task: TaskID = self._progress.add_task("queued", total=100, facts="")
        self._drawn_epoch: object = None
        self._lines: Sequence[str] = ()
        self._live = Live(get_renderable=self._picture, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def _picture(self) -> Group:
        lines = (Text(line, style="cyan", no_wrap=True) for line in self._lines)
        return Group(*lines, self._progress.get_renderable())

    def job(self, job: Json) -> None:
        percent = member(job, "progress", "percent")
        done = 100.0 if job["is_terminal"] else percent if isinstance(percent, int | float) else None
        self._progress.update(self._task, description=phase_of(job), completed=done, facts=describe(job))

    def event(self, event: Json) -> None:
        if line := event_line(event):
            self._live.console.print(line, markup=False, style="dim")

    def wants_curves(self, epoch: object, *, is_terminal: bool) -> bool:
        is_new = is_terminal or epoch != self._drawn_epoch
        self._drawn_epoch = epoch
        return is_new

    def curves(self, found: Sequence[Curve]) -> None:
        self._lines = list(curves.plot_lines(found)) or self._lines

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        for line in self._lines:
            console.print(line, markup=False, style="cyan")


def _display(*, quiet: bool) -> _Display:
    if quiet:
        return _Display()
    return _Bar() if console.is_terminal else _Lines()
