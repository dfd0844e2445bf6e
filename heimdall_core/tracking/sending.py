"""One run on its way into MLflow: each thing once, however often it is sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from heimdall_core.tracking.client import (
    connect,
    create_run,
    find_run,
    is_final,
    is_run_gone,
    translated,
)
from heimdall_core.tracking.items import Item, Point, RunStart
from heimdall_core.tracking.params import safe_name
from heimdall_core.tracking.redaction import redact
from heimdall_core.tracking.target import TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow takes 1000 metrics and 100 parameters or tags a call, and a request of a megabyte.
POINTS_PER_CALL = 500
PARAMS_PER_CALL = 100

CHANGED_PARAM_TAG = "heimdall.changed."
"""MLflow's parameters never change: what a later attempt has otherwise becomes a tag."""

Notice = Callable[[str], None]


class RunSender:
    """Finds the run or makes it, and writes to it.

    A point of a (name, step) that the run had before is left out: a resumed attempt repeats the last steps.

    Args:
        target: where the run is tracked.
        start: how it begins, and its key.
        goes_on: whether the run is under way: one that was found ended is set to RUNNING again.
        notice: told what MLflow refused for good, which is left out.
    """

    def __init__(
        self, target: TrackingTarget, start: RunStart, *, goes_on: bool = True, notice: Notice
    ) -> None:
        self._target = target
        self._start = start
        self._goes_on = goes_on
        self._notice = notice
        self._client: MlflowClient | None = None
        self._writer: RunWriter | None = None
        self.run_id: str | None = None
        self.has_ended = False

    def connect(self) -> tuple["MlflowClient", str]:
        """The client and the run's id.

        Raises:
            TrackingUnavailable: MLflow did not answer, or refused.
        """
        if self._client is None or self.run_id is None:
            client, experiment = connect(self._target)
            with translated(self._target):
                run = self._open(client, experiment)
            self._client, self.run_id = client, str(run.info.run_id)
            self._writer = RunWriter(
                client,
                self.run_id,
                params=run.data.params,
                steps=KnownSteps(client, self.run_id, run.data.metrics),
                notice=self._notice,
            )
        return self._client, self.run_id

    def send(self, items: Sequence[Item]) -> int:
        """Sends the first items that can go together; returns how many.

        Raises:
            TrackingUnavailable: MLflow did not answer; sent again, they do no harm.
        """
        self.connect()
        assert self._writer is not None
        together = list(takewhile(lambda item: bool(item.points), items)) or [items[0]]
        with translated(self._target):
            self._writer.write(*together)
        if (status := together[-1].end_status) is not None:
            self.end(status, together[-1].at_ms or None)
        return len(together)

    def end(self, status: str, at_ms: int | None = None) -> None:
        """Ends the run.

        Raises:
            TrackingUnavailable: MLflow did not answer.
        """
        client, run_id = self.connect()
        with translated(self._target):
            client.set_terminated(run_id, status, at_ms)
        self.has_ended = True

    def _open(self, client: "MlflowClient", experiment: str) -> Any:
        found = find_run(client, experiment, self._start)
        if found is None:
            return client.get_run(create_run(client, experiment, self._start))
        if self._goes_on and found.info.status != "RUNNING":
            client.update_run(found.info.run_id, status="RUNNING")
        return found


class RunWriter:
    """Writes to one run what it has not yet.

    Args:
        client: of MLflow.
        run_id: the run.
        params: those that it has.
        steps: those that it has of each metric.
        notice: told what MLflow refused for good, which is left out.
    """

    def __init__(
        self,
        client: "MlflowClient",
        run_id: str,
        *,
        params: Mapping[str, str],
        steps: "KnownSteps",
        notice: Notice,
    ) -> None:
        self._client, self._run_id = client, run_id
        self._params, self._steps = dict(params), steps
        self._notice = notice

    def write(self, *items: Item) -> None:
        """Parameters, tags and a file; points of all items together."""
        for item in items:
            self._write_params(item.params)
            self._in_calls(item.tags.items(), self._log_tags)
            self._write_file(item)
        self._write_points([point for item in items for point in item.points])

    def _write_params(self, params: Mapping[str, str]) -> None:
        new = {name: value for name, value in params.items() if name not in self._params}
        changed = {n: v for n, v in params.items() if n not in new and self._params[n] != v}
        self._in_calls(new.items(), self._log_params)
        self._in_calls(
            [(safe_name(CHANGED_PARAM_TAG + name), value) for name, value in changed.items()], self._log_tags
        )
        self._params.update(new)

    def _write_points(self, points: Sequence[Point]) -> None:
        self._in_calls(self._steps.missing(points), self._log_points, POINTS_PER_CALL)

    def _write_file(self, item: Item) -> None:
        if item.file is None:
            return
        if not item.file.is_file():
            self._notice(f"{item.file.name} is gone")
            return
        self._client.log_artifact(self._run_id, str(item.file), artifact_path=item.folder)

    def _log_points(self, points: Iterable[Point]) -> None:
        """The very same ones again change nothing."""
        from mlflow.entities import Metric

        metrics = [Metric(p.name, p.value, p.at_ms, p.step) for p in points]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _log_params(self, params: Iterable[tuple[str, str]]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(self._run_id, params=[Param(name, value) for name, value in params])

    def _log_tags(self, tags: Iterable[tuple[str, str]]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self._run_id, tags=[RunTag(name, value) for name, value in tags])

    def _in_calls(
        self, things: Iterable[Any], call: Callable[[list[Any]], None], size: int = PARAMS_PER_CALL
    ) -> None:
        """Calls with as many as MLflow takes; where it refuses some, one by one, and leaves those out."""
        all_things = list(things)
        for start in range(0, len(all_things), size):
            some = all_things[start : start + size]
            try:
                call(some)
            except Exception as error:
                if not is_final(error):
                    raise
                if len(some) == 1 or is_run_gone(error):
                    self._notice(f"MLflow refused {_name(some[0])}: {redact(str(error))}")
                else:
                    self._in_calls(some, call, size=1)


class KnownSteps:
    """Which steps of which metrics a run had before, asked for when a metric first comes up."""

    def __init__(self, client: "MlflowClient", run_id: str, latest: Mapping[str, float]) -> None:
        self._client, self._run_id, self._names = client, run_id, set(latest)
        self._steps: dict[str, frozenset[int]] = {}

    def missing(self, points: Iterable[Point]) -> list[Point]:
        """Those that the run has not."""
        return [point for point in points if point.step not in self._of(point.name)]

    def _of(self, name: str) -> frozenset[int]:
        if name not in self._steps:
            history = self._client.get_metric_history(self._run_id, name) if name in self._names else ()
            self._steps[name] = frozenset(metric.step for metric in history)
        return self._steps[name]


def _name(thing: Any) -> str:
    return thing.name if isinstance(thing, Point) else str(thing[0])
