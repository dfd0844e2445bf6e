"""MLflow's low-level client with short time-outs; no fluent API, so no global run."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from sqlalchemy.engine import make_url

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking.items import RunStart
from heimdall_core.tracking.params import safe_tags
from heimdall_core.tracking.redaction import redact
from heimdall_core.tracking.target import S3Access, TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow's own defaults wait minutes for a server that does not answer.
_WAITING = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    # A second sending of what was answered too late would make a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
#: boto's own would hold up the sender for minutes, and the end of the process, whose threads it waits for.
_S3_WAITING = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1})
_PROBE_SECONDS = 3.0
#: Drivers over libpq; seconds to connect, and milliseconds after which unacknowledged data end a connection.
_POSTGRES = ("postgresql://", "postgresql+psycopg://", "postgresql+psycopg2://")
_DATABASE_WAITING = {"connect_timeout": "5", "tcp_user_timeout": "30000"}
_HINT = "Check that MLflow is up and that HEIMDALL_TRACKING__* names it."

#: Errors that the same call would meet again, whenever it is made.
_FINAL = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}
#: MLflow answers BAD_REQUEST to whatever its database says; with one of these words, the trouble passes.
_PASSING = ("QueuePool limit", ".InterfaceError)", ".InternalError)", "ReadOnlySqlTransaction")
REFUSED = "tracking_refused"
_ALREADY = "RESOURCE_ALREADY_EXISTS"


def limit_waiting() -> None:
    """Bounds every MLflow call of this process unless the environment says otherwise."""
    for name, value in _WAITING.items():
        os.environ.setdefault(name, value)


def configure_mlflow(target: TrackingTarget) -> None:
    """Gives MLflow its time-outs and the access to S3, which it takes from this process alone."""
    limit_waiting()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # It prints the address of each run that ends, password and all.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    _configure_s3(target.s3)


def _configure_s3(s3: S3Access | None) -> None:
    """Sets boto's default session, which MLflow uses and our own store does not."""
    bounded = botocore.session.get_session()
    bounded.set_default_client_config(_S3_WAITING)
    if s3 is None:
        boto3.setup_default_session(botocore_session=bounded)
        return
    boto3.setup_default_session(
        botocore_session=bounded,
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
        region_name=s3.region,
    )
    if s3.endpoint_url is not None:
        os.environ["MLFLOW_S3_ENDPOINT_URL"] = s3.endpoint_url


def make_client(target: TrackingTarget) -> "MlflowClient":
    """A client of the target.

    Raises:
        TrackingUnavailable: the database of MLflow's tables does not answer.
    """
    configure_mlflow(target)
    with translated(target):
        if not target.is_server:
            _require_listener(target.uri)
        from mlflow import MlflowClient

        registry_uri = target.registry_uri or target.uri
        return MlflowClient(tracking_uri=_bounded(target.uri), registry_uri=_bounded(registry_uri))


def connect(target: TrackingTarget) -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment, which is made where it is missing.

    Raises:
        TrackingUnavailable: MLflow did not answer, or refused.
    """
    client = make_client(target)
    with translated(target):
        return client, experiment_id(client, target)


def experiment_id(client: "MlflowClient", target: TrackingTarget) -> str:
    """The experiment's id; it is made, and brought back if it was deleted."""
    name = target.experiment
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifact_location(target)))
        except Exception:
            # Another process may have been faster.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def find_run(client: "MlflowClient", experiment: str, start: RunStart) -> Any | None:
    """The run of this key, if there is one: the oldest."""
    found = client.search_runs(
        [experiment], filter_string=start.query, max_results=1, order_by=["attributes.start_time ASC"]
    )
    return found[0] if found else None


def create_run(client: "MlflowClient", experiment: str, start: RunStart) -> str:
    """The id of a new run."""
    tags = {**safe_tags(start.tags), start.key_tag: start.key}
    run: Any = client.create_run(experiment, start_time=start.at_ms, run_name=start.name, tags=tags)
    return str(run.info.run_id)


def is_final(error: BaseException) -> bool:
    """Whether MLflow understood and refused."""
    code = getattr(error, "error_code", None)
    return code in _FINAL and not (code == "BAD_REQUEST" and any(word in str(error) for word in _PASSING))


def is_away(error: BaseException) -> bool:
    """Whether MLflow did not answer, which the next call would meet too."""
    return isinstance(error, TrackingUnavailable) and error.stable_code != REFUSED


def is_run_gone(error: BaseException) -> bool:
    """Whether somebody deleted the run."""
    refused = getattr(error, "error_code", None)
    return refused == "RESOURCE_DOES_NOT_EXIST" or (is_final(error) and "'active' state" in str(error))


def is_already_there(error: BaseException) -> bool:
    """Whether what was to be made exists."""
    return getattr(error, "error_code", None) == _ALREADY


@contextmanager
def translated(target: TrackingTarget) -> Iterator[None]:
    """Any error within becomes ``TrackingUnavailable``, coded ``tracking_refused`` where MLflow refused.

    MLflow's own words may name a password: they are redacted, and the cause is left out.
    """
    try:
        yield
    except TrackingUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - MLflow raises its own, requests', boto's and SQLAlchemy's
        message = f"MLflow at {target.shown_uri}: {redact(_reason(error))}"
        raise TrackingUnavailable(message, hint=_HINT, code=REFUSED if is_final(error) else None) from None


def _reason(error: BaseException) -> str:
    """In a few words where it is the network; else in MLflow's own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError | TimeoutError | socket.gaierror):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _artifact_location(target: TrackingTarget) -> str | None:
    if target.artifact_root is None:
        return None
    return f"{target.artifact_root.rstrip('/')}/{target.experiment}"


def _bounded(uri: str) -> str:
    """The URL of a PostgreSQL with time-outs, unless it states its own; any other as it is."""
    if not uri.startswith(_POSTGRES):
        return uri
    url = make_url(uri)
    absent = {name: value for name, value in _DATABASE_WAITING.items() if name not in url.query}
    return url.update_query_dict(absent).render_as_string(hide_password=False)


def _require_listener(uri: str) -> None:
    """MLflow tries for minutes to reach a database; nobody at its port is known at once."""
    parts = urlsplit(uri)
    if parts.hostname is not None:
        address = (parts.hostname, parts.port or 5432)
        socket.create_connection(address, timeout=_PROBE_SECONDS).close()
