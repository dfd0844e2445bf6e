"""The settings of every process: ``HEIMDALL_*`` environment variables or a ``.env`` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heimdall_core.domain.job import JobKind
from heimdall_core.domain.scopes import READ_SCOPES, Scope

SignatureAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_confidential(url: str) -> bool:
    """Whether nobody between can read or change what comes from there: TLS, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK


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


class EventSettings(_Group):
    """Open streams of events, of each API process."""

    max_streams: Annotated[int, Field(ge=1)] = 800
    """Each is a file descriptor, of which a process often has 1024."""
    keep_alive_seconds: Annotated[float, Field(gt=0)] = 15.0
    """A stream on which nothing happens carries a comment so often."""
    key_check_seconds: Annotated[float, Field(gt=0, le=50)] = 30.0
    """A stream outlives its key by no more than this."""
    max_waiting: Annotated[int, Field(ge=1)] = 1000
    """Events that a follower may be behind before its stream is ended; it comes back for them."""
    send_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    """A follower that takes nothing for so long is given up."""
    progress_seconds: Annotated[float, Field(gt=0)] = 1.0
    """How often running jobs are looked at while somebody follows their progress."""


MIN_SECRET_KEY_CHARS = 32


class WebhookSettings(_Group):
    """What webhooks may call, and how; see docs/webhooks.md. API and control worker need the same."""

    allow_http: bool = False
    """Whether ``http`` URLs may be called too."""
    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    """Networks that may be called though they are not global, such as ``["10.0.0.0/8"]``."""
    secret_key: SecretStr | None = None
    """Encrypts signing secrets in the database: of several, comma-separated, the first; all decrypt them."""
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 15.0
    rotation_hours: Annotated[float, Field(ge=0)] = 24.0
    """A replaced secret signs beside the new one for so long."""
    max_endpoints: Annotated[int, Field(ge=1)] = 50
    """Of one owner."""
    senders: Annotated[int, Field(ge=1, le=64)] = 8
    """Deliveries that a control worker sends at a time."""

    @model_validator(mode="after")
    def _long_keys(self) -> Self:
        keys = [] if self.secret_key is None else self.secret_key.get_secret_value().split(",")
        if any(len(key.strip()) < MIN_SECRET_KEY_CHARS for key in keys):
            raise ValueError(f"secret_key: each key needs at least {MIN_SECRET_KEY_CHARS} random characters")
        return self


class RateLimitSettings(_Group):
    """How much one API key may ask of all API processes together; see docs/http.md."""

    enabled: bool = True
    requests: Annotated[int, Field(ge=1)] = 6000
    """In a window; unspent ones add up to no more than this."""
    window_seconds: Annotated[float, Field(ge=1)] = 60.0


class AccessSettings(_Group):
    """What a caller may do who has not said who it is, and how long a browser stays signed in."""

    anonymous_scopes: tuple[Scope, ...] = ()
    """Only those that read, such as ``["jobs:read:all", "models:read"]``."""
    session_hours: Annotated[float, Field(gt=0, le=8760)] = 168.0
    """A browser that is signed in is so for this long, if its key is valid for as long."""

    @model_validator(mode="after")
    def _only_reading(self) -> Self:
        if writing := [scope.value for scope in self.anonymous_scopes if scope.value not in READ_SCOPES]:
            allowed = ", ".join(sorted(READ_SCOPES))
            raise ValueError(
                f"anonymous_scopes may not hold {', '.join(writing)}: only {allowed} can be for everybody"
            )
        return self


class OidcSettings(_Group):
    """Bearer tokens (JWT) of an OpenID Connect issuer, beside API keys; see docs/security.md."""

    issuer: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """As ``iss`` states it, such as ``https://sso.example.org/realms/heimdall``; default: no tokens."""
    audience: tuple[str, ...] = ()
    """``aud`` must name one of these."""
    jwks_uri: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """The issuer's public keys; default: where its ``/.well-known/openid-configuration`` says."""
    algorithms: Annotated[tuple[SignatureAlgorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 30
    """By how much the issuer's clock may differ."""
    owner_claim: str = "preferred_username"
    """Who owns what a token's holder makes; ``sub`` where a token lacks it."""
    owner_prefix: Annotated[str, Field(max_length=50)] = ""
    """Before that name, to keep the issuer's names apart from those of API keys."""
    client_id: str | None = None
    """Also takes the roles of this client: ``resource_access.<client_id>.roles``."""
    roles_claim: str = "realm_access.roles"
    """Dotted path of the list of roles."""
    role_scopes: Mapping[str, tuple[Scope, ...]] = {}
    """What each role opens, such as ``{"trainer": ["jobs:read", "jobs:write"]}``; no other opens anything."""
    key_days: Annotated[float, Field(gt=0)] = 30.0
    """An API key that a token's holder makes ends after so long at most, unless it is an admin's."""
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 3.0
    """Of a request to the issuer."""
    jwks_seconds: Annotated[float, Field(ge=10)] = 600.0
    """How long the issuer's keys are taken as they are."""
    allow_http: bool = False
    """Whether the issuer may be asked without TLS where it is not on this machine."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.issuer is not None and not self.audience:
            raise ValueError("audience is missing: without it tokens made for other services would be taken")
        for name, url in (("issuer", self.issuer), ("jwks_uri", self.jwks_uri)):
            if url is not None and not self.allow_http and not is_confidential(url):
                raise ValueError(
                    f"{name} is not https: whoever sits between could sign tokens; or set allow_http"
                )
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
    delivery_days: Annotated[float, Field(gt=0)] = 30.0
    """Of webhook deliveries that have ended."""


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
    access: AccessSettings = AccessSettings()
    oidc: OidcSettings = OidcSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    events: EventSettings = EventSettings()
    webhooks: WebhookSettings = WebhookSettings()
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
