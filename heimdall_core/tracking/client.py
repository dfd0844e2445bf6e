"""MLflow's low-level client with short time-outs; no fluent API, so no global state."""

import os
from typing import TYPE_CHECKING, Any

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking.target import JOB_ID_TAG, TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow's own defaults wait minutes for a server that does not answer.
_WAITING = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}


def limit_waiting() -> None:
    """Bounds every MLflow call of this process unless the environment says otherwise."""
    for name, value in _WAITING.items():
        os.environ.setdefault(name, value)


def initialize_mlflow(uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment, which is made where it is missing.

    Raises:
        TrackingUnavailable: the server did not answer, or refused.
    """
    limit_waiting()
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        return client, _experiment_id(client, experiment)
    except Exception as error:  # MLflow raises its own, requests' and SQLAlchemy's errors
        raise TrackingUnavailable(f"MLflow at {uri}: {error}", hint="Check tracking.uri.") from error


def open_run(client: "MlflowClient", experiment_id: str, *, run_name: str, tags: dict[str, str]) -> str:
    """The id of the job's run: the one that an earlier attempt began, else a new one."""
    if job_id := tags.get(JOB_ID_TAG):
        found = client.search_runs(
            [experiment_id], filter_string=f"tags.`{JOB_ID_TAG}` = '{job_id}'", max_results=1
        )
        if found:
            run_id = str(found[0].info.run_id)
            client.update_run(run_id, status="RUNNING")
            return run_id
    run: Any = client.create_run(experiment_id, run_name=run_name, tags=tags)
    return str(run.info.run_id)


def open_target(target: TrackingTarget, *, run_name: str, tags: dict[str, str]) -> tuple["MlflowClient", str]:
    """A client and the id of the job's run.

    Raises:
        TrackingUnavailable: the server did not answer, or refused.
    """
    client, experiment_id = initialize_mlflow(target.uri, target.experiment)
    try:
        return client, open_run(client, experiment_id, run_name=run_name, tags=tags)
    except Exception as error:
        raise TrackingUnavailable(f"MLflow at {target.uri}: {error}") from error


def _experiment_id(client: "MlflowClient", name: str) -> str:
    if (found := client.get_experiment_by_name(name)) is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except Exception:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
