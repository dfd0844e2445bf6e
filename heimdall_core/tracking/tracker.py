"""Logging to MLflow from a daemon thread behind a bounded queue."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from heimdall_core.tracking.client import open_target
from heimdall_core.tracking.target import TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOG = structlog.get_logger(__name__)
_QUEUE_SIZE = 2000
_METRICS_PER_CALL = 500
_PARAM_LENGTH = 500
_RETRY_AFTER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    name: str
    value: float
    step: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One thing to send."""

    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[_Point, ...] = ()
    file: Path | None = None
    folder: str | None = None
    end_status: str | None = None


class MLflowTracker:
    """Sends what it is given, when MLflow answers; no method blocks or raises.

    What cannot be sent is dropped, with one warning. Parameters are kept and sent again once MLflow answers.
    """

    def __init__(
        self,
        target: TrackingTarget,
        *,
        run_name: str,
        tags: Mapping[str, str],
        on_unavailable: Callable[[str], None] | None = None,
    ) -> None:
        self._target = target
        self._run_name = run_name
        self._tags = dict(tags)
        self._on_unavailable = on_unavailable
        self._queue: queue.Queue[_Item] = queue.Queue(_QUEUE_SIZE)
        self._client: MlflowClient | None = None
        self._params: dict[str, str] = {}
        self._retry_at = 0.0
        self._warned = False
        self._closed = False
        self._run_id: str | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until the server has answered."""
        return self._run_id

    def log_params(self, params: Mapping[str, object]) -> None:
        """Parameters of the run, as text."""
        self._put(_Item(params={k: str(v)[:_PARAM_LENGTH] for k, v in params.items()}))

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Points of curves."""
        at_ms = time.time_ns() // 1_000_000
        points = (_Point(name=k, value=float(v), step=step, at_ms=at_ms) for k, v in values.items())
        self._put(_Item(points=tuple(points)))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """A file, read when its turn comes."""
        self._put(_Item(file=path, folder=folder))

    def end(self, status: str = "FINISHED") -> None:
        """Ends the run as FINISHED, FAILED or KILLED; what comes later is not sent."""
        self._put(_Item(end_status=status))
        self._closed = True

    def close(self, deadline_seconds: float = 5.0) -> None:
        """Gives what is queued so long to be sent, and lets go of the rest."""
        if not self._closed:
            self.end()
        self._thread.join(deadline_seconds)

    def _put(self, item: _Item) -> None:
        if self._closed:
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._warn("the queue to MLflow is full")

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            self._params.update(item.params)
            try:
                self._send(item)
            except Exception as error:  # noqa: BLE001 - tracking never fails a training, whatever a server does
                self._retry_at = time.monotonic() + _RETRY_AFTER_SECONDS
                self._warn(str(error))
            if item.end_status is not None:
                return

    def _send(self, item: _Item) -> None:
        if time.monotonic() < self._retry_at:
            return
        client, run_id = self._connected()
        if item.params:
            self._send_params(client, run_id, item.params)
        if item.points:
            self._send_points(client, run_id, item.points)
        if item.file is not None:
            client.log_artifact(run_id, str(item.file), artifact_path=item.folder)
        if item.end_status is not None:
            client.set_terminated(run_id, item.end_status)

    def _connected(self) -> tuple["MlflowClient", str]:
        if self._client is None or self._run_id is None:
            self._client, self._run_id = open_target(self._target, run_name=self._run_name, tags=self._tags)
            self._send_params(self._client, self._run_id, self._params)
        return self._client, self._run_id

    def _send_params(self, client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        if params:
            client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()])

    def _send_points(self, client: "MlflowClient", run_id: str, points: tuple[_Point, ...]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(p.name, p.value, p.at_ms, p.step) for p in self._with_waiting(points)]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_CALL])

    def _with_waiting(self, points: tuple[_Point, ...]) -> list[_Point]:
        """These points and those that wait behind them, up to the first item of another kind."""
        together = list(points)
        with self._queue.mutex:
            waiting = self._queue.queue
            while waiting and waiting[0].points and len(together) < _METRICS_PER_CALL:
                together.extend(waiting.popleft().points)
        return together

    def _warn(self, message: str) -> None:
        if self._warned:
            return
        self._warned = True
        _LOG.warning("tracking_unavailable", uri=self._target.uri, message=message)
        if self._on_unavailable is not None:
            self._on_unavailable(message)
