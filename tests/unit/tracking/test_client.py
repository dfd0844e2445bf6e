"""What passes is waited for, what MLflow refuses is not, and nobody waits for long."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from pydantic import SecretStr

from heimdall_core.settings import StorageSettings
from heimdall_core.storage import S3Store
from heimdall_core.tracking import S3Access, TrackingTarget
from heimdall_core.tracking.client import configure_mlflow, create_run, is_final, make_client
from heimdall_core.tracking.items import RunStart

KEYS = S3Access(endpoint_url=None, access_key_id="mine", secret_access_key="x", region="eu-west-1")


class Answer(Exception):
    """As MLflow raises what its server answered."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.error_code = code


@pytest.mark.parametrize(
    "message",
    [
        "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00",
        "(psycopg2.InterfaceError) connection already closed",
        "(psycopg.errors.ReadOnlySqlTransaction) cannot execute INSERT in a read-only transaction",
        "(psycopg2.InternalError) the database is starting",
    ],
)
def test_trouble_of_mlflows_database_passes_though_it_says_bad_request(message: str) -> None:
    assert not is_final(Answer("BAD_REQUEST", message))


def test_what_mlflow_refuses_is_final() -> None:
    assert is_final(Answer("BAD_REQUEST", "(psycopg2.errors.UniqueViolation) duplicate key"))
    assert is_final(Answer("INVALID_PARAMETER_VALUE", "metric QueuePool limit is no name"))
    assert not is_final(Answer("TEMPORARILY_UNAVAILABLE", "later"))
    assert not is_final(ValueError("x"))


@pytest.mark.parametrize("s3", [KEYS, None])
def test_a_store_of_artifacts_that_is_silent_is_given_up_after_seconds(
    s3: S3Access | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    configure_mlflow(TrackingTarget(uri="http://mlflow", experiment="e", s3=s3))
    # The options with which MLflow makes its client.
    made = boto3.client("s3", region_name="eu-west-1", config=Config(signature_version="s3v4"))
    config: Any = made.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries["total_max_attempts"] == 1


def test_a_run_whose_making_is_not_answered_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    asked: list[str] = []

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    start = RunStart(key="job_1", key_tag="heimdall.job_id", name="run", tags={}, at_ms=5)
    with HTTPServer(("127.0.0.1", 0), Silent) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        client = make_client(TrackingTarget(uri=f"http://127.0.0.1:{server.server_port}", experiment="e"))
        with pytest.raises(Exception, match="runs/create"):
            create_run(client, "1", start)
        server.shutdown()
        serving.join()
    assert len([path for path in asked if path.endswith("runs/create")]) == 1


def test_the_object_store_keeps_its_own_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    configure_mlflow(TrackingTarget(uri="http://mlflow", experiment="e", s3=KEYS))
    store = S3Store(
        StorageSettings(
            endpoint_url="http://minio:9000",
            access_key_id=SecretStr("store-id"),
            secret_access_key=SecretStr("hunter2"),
        )
    )
    config: Any = store._s3.meta.config
    assert config.read_timeout == 30
