"""Reading runs back from MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow import MlflowClient

Goal = Literal["lowest", "highest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run as MLflow has it: the newest value of each metric."""

    run_id: str
    name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifact_uri: str


def read_run(client: "MlflowClient", run_id: str) -> RunInfo:
    """The run."""
    return _described(client.get_run(run_id))


def best_run(client: "MlflowClient", experiment_id: str, metric: str, goal: Goal) -> RunInfo | None:
    """The finished run with the best value of a metric; None where no finished run has it."""
    order = "ASC" if goal == "lowest" else "DESC"
    found = client.search_runs(
        [experiment_id],
        filter_string="attributes.status = 'FINISHED'",
        order_by=[f"metrics.`{metric}` {order}"],
        max_results=1,
    )
    if not found or metric not in found[0].data.metrics:
        return None
    return _described(found[0])


def _described(run: Any) -> RunInfo:
    info, data = run.info, run.data
    return RunInfo(
        run_id=info.run_id,
        name=info.run_name,
        status=info.status,
        started_at=_time(info.start_time),
        ended_at=_time(info.end_time) if info.end_time else None,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags={name: value for name, value in data.tags.items() if not name.startswith("mlflow.")},
        artifact_uri=info.artifact_uri,
    )


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
