"""The settings say where to track, and no text that shows them says how to get in."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from heimdall_core.settings import (
    DatabaseSettings,
    RedisSettings,
    Settings,
    StorageSettings,
    TrackingSettings,
)
from heimdall_core.tracking import local_target, target_of

STORE = "postgresql+psycopg://mlflow:hunter2@db:5432/mlflow"


def settings(tracking: TrackingSettings) -> Settings:
    return Settings(
        _env_file=None,
        database=DatabaseSettings(url=SecretStr("postgresql://db/x")),
        redis=RedisSettings(url=SecretStr("redis://r")),
        storage=StorageSettings(
            endpoint_url="http://minio:9000",
            access_key_id=SecretStr("store-id"),
            secret_access_key=SecretStr("hunter2"),
        ),
        tracking=tracking,
        home=Path("/var/heimdall"),
    )


def test_nothing_configured_tracks_nothing() -> None:
    assert target_of(settings(TrackingSettings())) is None


def test_a_server_decides_where_artifacts_go() -> None:
    target = target_of(settings(TrackingSettings(uri="http://me:hunter2@mlflow:5000", run_name_prefix="it-")))
    assert target is not None
    assert (target.uri, target.artifact_root) == ("http://me:hunter2@mlflow:5000", None)
    assert target.spool_dir == Path("/var/heimdall/tracking")
    assert (target.is_server, target.run_name_prefix) == (True, "it-")
    assert "hunter2" not in repr(target) + target.shown_uri


def test_a_backend_store_is_used_straight_with_the_object_stores_keys() -> None:
    tracking = TrackingSettings(backend_store_uri=SecretStr(STORE))
    target = target_of(settings(tracking))
    assert target is not None
    assert (target.uri, target.artifact_root, target.is_server) == (STORE, "s3://heimdall-mlflow", False)
    assert target.s3 is not None
    assert (target.s3.endpoint_url, target.s3.access_key_id) == ("http://minio:9000", "store-id")
    assert "hunter2" not in repr(target) + repr(tracking)


def test_artifacts_may_have_keys_of_their_own() -> None:
    tracking = TrackingSettings(
        uri="http://mlflow",
        s3_endpoint_url="https://s3",
        s3_access_key_id=SecretStr("own"),
        s3_secret_access_key=SecretStr("x"),
    )
    target = target_of(settings(tracking))
    assert target is not None
    assert target.s3 is not None
    assert (target.s3.endpoint_url, target.s3.access_key_id) == ("https://s3", "own")


def test_contradictions_are_refused_and_named() -> None:
    with pytest.raises(ValidationError, match="give one of them"):
        TrackingSettings(uri="http://mlflow", backend_store_uri=SecretStr(STORE))
    with pytest.raises(ValidationError, match="belong together"):
        TrackingSettings(s3_access_key_id=SecretStr("x"))


def test_a_local_run_reads_the_same_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_target() is None
    assert local_target(fallback_uri="http://other") is not None
    (tmp_path / ".env").write_text(
        f"HEIMDALL_TRACKING__BACKEND_STORE_URI={STORE}\nHEIMDALL_TRACKING__EXPERIMENT=e\n"
    )
    target = local_target(fallback_uri="http://other")
    assert target is not None
    assert (target.uri, target.experiment) == (STORE, "e")
    named = local_target(experiment="mine")
    assert named is not None
    assert named.experiment == "mine"


def test_a_refusal_shows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEIMDALL_TRACKING__URI", "http://me:hunter2@mlflow")
    monkeypatch.setenv("HEIMDALL_TRACKING__BACKEND_STORE_URI", STORE)
    with pytest.raises(ValidationError) as refused:
        local_target()
    assert "hunter2" not in str(refused.value)
