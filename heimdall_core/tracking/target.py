"""Where a run is tracked."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from heimdall_core.settings import Settings, StorageSettings, TrackingSettings
from heimdall_core.tracking.redaction import redact

#: The tag that ties an MLflow run to its job: a resumed job goes on in the same run.
JOB_ID_TAG = "heimdall.job_id"

DEFAULT_SPOOL_LIMIT_BYTES = 256 << 20
#: Under the home of a host.
SPOOL_FOLDER = "tracking"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """What MLflow's client needs where it writes artifacts to S3 itself."""

    endpoint_url: str | None
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingTarget:
    """An MLflow server, or the database of MLflow's tables, and an experiment.

    Args:
        uri: the tracking server, or a database's URL.
        experiment: made where it is missing.
        registry_uri: where models are registered; None: ``uri``.
        artifact_root: where a new experiment's artifacts go; None: as the server decides.
        s3: for artifacts that no server hands on.
        run_name_prefix: of every run.
        spool_dir: what MLflow has not taken yet lies in there; None: in memory alone.
        spool_limit_bytes: of one run.
    """

    uri: str = field(repr=False)
    experiment: str
    registry_uri: str | None = field(default=None, repr=False)
    artifact_root: str | None = None
    s3: S3Access | None = None
    run_name_prefix: str = ""
    spool_dir: Path | None = None
    spool_limit_bytes: int = DEFAULT_SPOOL_LIMIT_BYTES

    @property
    def shown_uri(self) -> str:
        """The address without user and password."""
        return redact(self.uri)

    @property
    def is_server(self) -> bool:
        """Whether a server stands between this process and MLflow's database."""
        return self.uri.startswith(("http://", "https://"))


def target_of(settings: Settings) -> TrackingTarget | None:
    """Where the service tracks; None where nothing is configured."""
    return _target(settings.tracking, settings.storage, settings.home)


class _LocalSettings(BaseSettings):
    """The part of the settings that a run without the service reads."""

    model_config = SettingsConfigDict(**{**Settings.model_config, "hide_input_in_errors": True})

    tracking: TrackingSettings = TrackingSettings()
    home: Path = Settings.model_fields["home"].default


def local_target(*, experiment: str | None = None, fallback_uri: str | None = None) -> TrackingTarget | None:
    """Where a run without the service tracks, by the same variables and ``.env``; None: nowhere.

    Raises:
        pydantic.ValidationError: a setting is out of bounds.
    """
    settings = _LocalSettings()
    tracking = settings.tracking
    if tracking.uri is None:
        tracking = tracking.model_copy(update={"uri": fallback_uri})
    if experiment is not None:
        tracking = tracking.model_copy(update={"experiment": experiment})
    return _target(tracking, None, settings.home)


def _target(tracking: TrackingSettings, storage: StorageSettings | None, home: Path) -> TrackingTarget | None:
    if tracking.uri is None:
        return None
    return TrackingTarget(
        uri=tracking.uri,
        experiment=tracking.experiment,
        registry_uri=tracking.registry_uri,
        artifact_root=tracking.artifact_root if tracking.backend_store_uri is not None else None,
        s3=_s3(tracking, storage),
        run_name_prefix=tracking.run_name_prefix,
        spool_dir=home.expanduser() / SPOOL_FOLDER,
        spool_limit_bytes=tracking.spool_limit_bytes,
    )


def _s3(tracking: TrackingSettings, storage: StorageSettings | None) -> S3Access | None:
    """The artifacts' own access, else the object store's."""
    key_id = tracking.s3_access_key_id or (storage and storage.access_key_id)
    secret = tracking.s3_secret_access_key or (storage and storage.secret_access_key)
    if not key_id or not secret:
        return None
    return S3Access(
        endpoint_url=tracking.s3_endpoint_url or (storage.endpoint_url if storage else None),
        access_key_id=key_id.get_secret_value(),
        secret_access_key=secret.get_secret_value(),
        region=storage.region if storage else "us-east-1",
    )
