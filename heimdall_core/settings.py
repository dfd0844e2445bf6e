"""The settings of every process: ``HEIMDALL_*`` environment variables or a ``.env`` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heimdall_core.domain.job import JobKind


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Group):
    """PostgreSQL, the truth."""

    url: SecretStr
    """``postgresql+psycopg://user:password@host:port/database``."""
    pool_size: Annotated[int, Field(ge=1)] = 5
    connect_timeout_seconds: Annotated[int, Field(ge=1)] = 5
    statement_timeout_seconds: Annotated[int, Field(ge=1)] = 30


class RedisSettings(_Group):
    """Redis or Valkey, the carrier of hints."""

    url: SecretStr
    key_prefix: str = "heimdall:"


class StorageSettings(_Group):
    """S3, MinIO or anything that speaks S3."""

    endpoint_url: str | None = None
    public_endpoint_url: str | None = None
    """The endpoint that presigned URLs name; default: ``endpoint_url``."""
    access_key_id: SecretStr
    secret_access_key: SecretStr
    region: str = "us-east-1"
    raw_bucket: str = "heimdall-raw-iq"
    models_bucket: str = "heimdall-models"
    presign_seconds: Annotated[int, Field(ge=1, le=604_800)] = 3600


class TrackingSettings(_Group):
    """MLflow; without ``uri`` and ``backend_store_uri`` nothing is tracked. See docs/tracking.md."""

    uri: Annotated[str | None, Field(repr=False)] = None
    """A tracking server; ``backend_store_uri`` where that is given instead."""
    backend_store_uri: SecretStr | None = None
    """The database of MLflow's own tables, used straight where there is no server: ``postgresql+psycopg://...``."""
    registry_uri: Annotated[str | None, Field(repr=False)] = None
    """Where models are registered; default: ``uri``."""
    artifact_root: Annotated[str, Field(pattern=r"^[a-z0-9+-]+://")] = "s3://heimdall-mlflow"
    """Artifacts of a new experiment, where no server decides."""
    s3_endpoint_url: str | None = None
    """Of the artifacts, where no server hands them on; default: all of S3 as in ``HEIMDALL_STORAGE__*``."""
    s3_access_key_id: SecretStr | None = None
    s3_secret_access_key: SecretStr | None = None
    experiment: Annotated[str, Field(min_length=1, max_length=500)] = "heimdall"
    run_name_prefix: Annotated[str, Field(max_length=100)] = ""
    spool_limit_bytes: Annotated[int, Field(ge=1 << 20)] = 256 << 20
    """Of one run: what waits on disk because MLflow has not taken it; what comes beyond is dropped."""

    @model_validator(mode="before")
    @classmethod
    def _one_way_in(cls, data: Any) -> Any:
        """Without a server the database takes its place."""
        if not isinstance(data, Mapping) or not (store := data.get("backend_store_uri")):
            return data
        straight = store.get_secret_value() if isinstance(store, SecretStr) else store
        if data.get("uri") not in {None, "", straight}:
            raise ValueError(
                "uri and backend_store_uri: a tracking server has a store of its own; give one of them"
            )
        return {**data, "uri": straight}

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError("s3_access_key_id and s3_secret_access_key belong together: give both or none")
        return self


class LeaseSettings(_Group):
    """Times of the job engine.

    The order is what keeps two attempts apart: heartbeat < stop_after < kill_after < lease.
    """

    lease_seconds: Annotated[float, Field(gt=0)] = 120.0
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 15.0
    stop_after_seconds: Annotated[float, Field(gt=0)] = 80.0
    """Without a good heartbeat for so long the trainer is told to checkpoint and stop."""
    kill_after_seconds: Annotated[float, Field(gt=0)] = 100.0
    """Without a good heartbeat for so long the trainer's process group is killed."""
    flag_poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often the supervisor looks for a request to cancel."""
    stop_grace_seconds: Annotated[float, Field(gt=0)] = 20.0
    """From the polite stop to SIGTERM, and again to SIGKILL."""
    queued_limit_seconds: Annotated[float, Field(gt=0)] = 30 * 86_400.0


class WorkerSettings(_Group):
    """One worker per host."""

    slots: Annotated[int, Field(ge=1)] = 1
    """Trainings at a time: one per accelerator, one on a host without."""
    light_slots: Annotated[int, Field(ge=0)] = 1
    """More slots, for what needs no accelerator: imports, evaluations, exports. 0: they use the others."""
    kinds: tuple[JobKind, ...] = tuple(JobKind)
    """What this host takes."""
    idle_poll_seconds: Annotated[float, Field(gt=0)] = 5.0
    torch_threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of a trainer; default: all cores over the number of slots."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 30.0
    """A durable checkpoint is made at most so often."""
    log_limit_bytes: Annotated[int, Field(ge=1024)] = 10_000_000
    """Of one attempt; what comes after is dropped, with a notice."""
    pretrained_dir: Path | None = None
    """A folder for each size with the files of its repository on the Hugging Face hub, such as
    ``convnextv2-atto-1k-224``; default: the hub, or its cache (``HF_HOME``)."""


class QueueSettings(_Group):
    """Who may run how much."""

    max_running_per_owner: Annotated[int, Field(ge=1)] | None = None
    """Jobs of one owner that run at a time; the others wait with the reason ``quota``."""


class PromotionSettings(_Group):
    """What a model version must hold to become the champion; API and workers need the same."""

    max_median_error_increase: Annotated[float, Field(ge=0, le=1)] = 0.0
    """By how much of the champion's median error the challenger's may be larger; 0.02: two in a hundred."""
    max_nll_increase: Annotated[float, Field(ge=0)] = 0.05
    """By how many nats the challenger's ``nll_per_m2`` may be above the champion's."""
    min_coverage_68: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of the test split inside the 68 % ellipses, less the chance of a small split."""
    max_coverage_68: Annotated[float, Field(ge=0, le=1)] = 0.85
    """Largest share of it, plus the chance of a small split."""
    min_sessions: Annotated[int, Field(ge=1)] = 10
    """Test sessions new to both that a comparison with the champion takes at least."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min_coverage_68 > self.max_coverage_68:
            raise ValueError("min_coverage_68 is above max_coverage_68: no model would ever pass")
        return self


class RetentionSettings(_Group):
    """What is kept of jobs, and how long."""

    best_checkpoints: Annotated[int, Field(ge=0)] = 3
    """Durable checkpoints of a job that are kept besides its newest, by ``val_loss``."""
    log_days: Annotated[float, Field(gt=0)] = 90.0
    event_days: Annotated[float, Field(gt=0)] = 365.0
    """Of ended jobs; the first and the last event of a job stay."""
    upload_days: Annotated[float, Field(gt=0)] = 7.0
    """Uploaded files are deleted so long after their import ended, or if they were never completed."""
    idempotency_hours: Annotated[float, Field(gt=0)] = 24.0


class Settings(BaseSettings):
    """Everything; there are no default secrets."""

    model_config = SettingsConfigDict(
        env_prefix="HEIMDALL_",
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database: DatabaseSettings
    redis: RedisSettings
    storage: StorageSettings
    tracking: TrackingSettings = TrackingSettings()
    lease: LeaseSettings = LeaseSettings()
    worker: WorkerSettings = WorkerSettings()
    queue: QueueSettings = QueueSettings()
    promotion: PromotionSettings = PromotionSettings()
    retention: RetentionSettings = RetentionSettings()
    home: Path = Path("~/.heimdall").expanduser()
    cache_dir: Path = Path("~/.heimdall/cache").expanduser()
    bootstrap_key: SecretStr | None = None
    """An admin API key that the migration registers; for a first start."""
    log_format: str = Field(default="console", pattern="^(console|json)$")


def load_settings() -> Settings:
    """Reads the environment.

    Raises:
        pydantic.ValidationError: a setting is missing or out of bounds.
    """
    return Settings()
