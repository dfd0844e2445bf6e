"""``MLflowTracker``: what a training tells MLflow, and what may be asked of it."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import structlog

from heimdall_core.tracking import models, runs
from heimdall_core.tracking.client import configure_mlflow, connect, make_client, translated
from heimdall_core.tracking.items import Item, Point, RunStart
from heimdall_core.tracking.params import flatten_params, safe_name, safe_tags
from heimdall_core.tracking.pump import Pump
from heimdall_core.tracking.redaction import redact
from heimdall_core.tracking.runs import Goal, RunInfo
from heimdall_core.tracking.target import JOB_ID_TAG, TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_KEY_TAG = "heimdall.run_key"
"""Finds a run without a job again."""

T = TypeVar("T")
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_LOG = structlog.get_logger(__name__)
_CLOSE_SECONDS = 5.0


class MLflowTracker:
    """One run. No ``log_*``, ``start_run``, ``end_run`` or ``close`` raises or waits for MLflow.

    What MLflow does not take is kept in the spool, in order, and sent when it answers: by this process, by a
    later one on this host, or by the control worker out of the database (docs/tracking.md). What asks MLflow
    (``register_model`` and those after it) waits for the answer and raises ``TrackingUnavailable``.

    Args:
        target: where to.
        run_name: begins the run at once; None: ``start_run`` does.
        tags: of the run; ``heimdall.job_id`` ties the attempts of a job together.
        on_unavailable: told once, in words, if MLflow cannot be reached.
        spool_dir: where the spool lies; None: where ``target`` says, or in memory.
    """

    def __init__(
        self,
        target: TrackingTarget,
        *,
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        on_unavailable: Callable[[str], None] | None = None,
        spool_dir: Path | None = None,
    ) -> None:
        self._target = target if spool_dir is None else replace(target, spool_dir=spool_dir)
        self._on_unavailable = on_unavailable
        self._tags = dict(tags or {})
        self._pump: Pump | None = None
        self._waiting: list[Item] = []
        self._names: dict[str, str] = {}
        self._has_ended = False
        self._connection: tuple[MlflowClient, str] | None = None
        if run_name is not None:
            self.start_run(run_name)

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until MLflow has answered."""
        return None if self._pump is None else self._pump.run_id

    def start_run(self, run_name: str, tags: Mapping[str, str] | None = None) -> None:
        """Begins the run, or goes on with that of the same job; once."""
        assert self._pump is None, "a tracker has one run"
        given = {**self._tags, **(tags or {})}
        key_tag = JOB_ID_TAG if given.get(JOB_ID_TAG) else RUN_KEY_TAG
        key = given.setdefault(key_tag, uuid.uuid4().hex)
        safe = {**safe_tags(given), key_tag: key}
        name = redact(f"{self._target.run_name_prefix}{run_name}")
        start = RunStart(key=key, key_tag=key_tag, name=name, tags=safe, at_ms=_now_ms())
        self._pump = Pump(self._target, start, on_unavailable=self._on_unavailable)
        for item in (Item(tags=safe), *self._waiting):
            self._pump.put(item)
        self._waiting.clear()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Parameters of any shape: nested ones get dotted names, all become text, secrets are masked."""
        flat = flatten_params(params)
        if flat.cut:
            _LOG.warning("tracking_params_cut", names=list(flat.cut))
        if flat.values:
            self._put(Item(params=flat.values))

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Points of curves."""
        at_ms = _now_ms()
        points = tuple(
            Point(name=self._name(name), value=float(value), step=int(step), at_ms=at_ms)
            for name, value in values.items()
        )
        if points:
            self._put(Item(points=points))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """A file, as it is in a moment; it may be deleted once the tracker is closed."""
        self._put(Item(file=path, folder=folder))

    def log_artifacts_dir(self, path: Path, folder: str | None = None) -> None:
        """Every file of a folder, under the folder's own layout, in the background."""
        self._put(Item(file=path, folder=folder))

    def end_run(self, status: RunStatus = "FINISHED") -> None:
        """Ends the run; what comes later is not sent."""
        self._put(Item(end_status=status, at_ms=_now_ms()))
        self._has_ended = True

    def end(self, status: RunStatus = "FINISHED") -> None:
        """The same as ``end_run``."""
        self.end_run(status)

    def close(self, deadline_seconds: float = _CLOSE_SECONDS) -> None:
        """Ends the run unless it has ended, and waits at most so long for what is still to be sent."""
        if not self._has_ended:
            self.end_run()
        if self._pump is not None:
            self._pump.close(deadline_seconds)

    def register_model(
        self,
        name: str,
        source: str,
        *,
        tags: Mapping[str, str] | None = None,
        limit_seconds: float = models.REGISTRATION_LIMIT_SECONDS,
    ) -> str:
        """Registers what lies at ``source`` as a version of the model, of this run; returns its number.

        The same source registered again is the same version.

        Raises:
            TrackingUnavailable: MLflow refused; ``registration_timeout``: it did not do so in time.
        """
        return models.register_version(
            make_client(self._target),
            self._target,
            name,
            source=source,
            run_id=self.run_id,
            tags=tags or {},
            limit_seconds=limit_seconds,
        )

    def transition_model_stage(self, name: str, version: str, stage: str) -> None:
        """Production, Staging, Archived or None: an alias (champion, challenger), and ``heimdall.stage``.

        Raises:
            TrackingUnavailable: MLflow did not answer, or refused.
            ValueError: there is no such stage.
        """
        models.alias_of(stage)
        self._ask(lambda client, _: models.set_stage(client, name, version, stage))

    def get_run_info(self, run_id: str | None = None) -> RunInfo | None:
        """A run, or this tracker's own; None until MLflow knows of it.

        Raises:
            TrackingUnavailable: MLflow did not answer, or has no such run.
        """
        wanted = run_id or self.run_id
        return None if wanted is None else self._ask(lambda client, _: runs.read_run(client, wanted))

    def get_best_run(self, metric: str = "val_loss", *, goal: Goal = "lowest") -> RunInfo | None:
        """The finished run of the experiment with the best newest value of a metric.

        Raises:
            TrackingUnavailable: MLflow did not answer, or refused.
        """
        return self._ask(
            lambda client, experiment_id: runs.best_run(client, experiment_id, safe_name(metric), goal)
        )

    def _configure_mlflow(self) -> None:
        configure_mlflow(self._target)

    def _get_or_create_experiment(self) -> tuple["MlflowClient", str]:
        """A client and the experiment's id, asked for when they are needed first."""
        if self._connection is None:
            self._configure_mlflow()
            self._connection = connect(self._target)
        return self._connection

    def _ask(self, question: Callable[["MlflowClient", str], T]) -> T:
        client, experiment_id = self._get_or_create_experiment()
        with translated(self._target):
            return question(client, experiment_id)

    def _put(self, item: Item) -> None:
        if self._has_ended:
            return
        if self._pump is None:
            self._waiting.append(item)
        else:
            self._pump.put(item)

    def _name(self, name: str) -> str:
        if name not in self._names:
            self._names[name] = safe_name(name)
        return self._names[name]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
