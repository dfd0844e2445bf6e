"""MLflow's registry: versions, aliases, and the stages of old, which are aliases and a tag."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking.client import REFUSED, is_already_there, translated
from heimdall_core.tracking.params import safe_tags
from heimdall_core.tracking.target import TrackingTarget

if TYPE_CHECKING:
    from mlflow import MlflowClient

REGISTRATION_LIMIT_SECONDS = 300.0
STAGE_TAG = "heimdall.stage"
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
#: None: no alias.
_ALIASES = {"production": CHAMPION, "staging": "challenger", "archived": None, "none": None}
_PAUSE_SECONDS = 1.0


def register_version(
    client: "MlflowClient",
    target: TrackingTarget,
    name: str,
    *,
    source: str,
    run_id: str | None,
    tags: Mapping[str, str],
    limit_seconds: float,
) -> str:
    """The number of the version of this source and run, which is made where it is missing, once it is ready.

    Raises:
        TrackingUnavailable: MLflow refused; or ``registration_timeout``: it was not ready in time.
    """
    until = time.monotonic() + limit_seconds
    while True:
        reason = "the version is not ready"
        try:
            with translated(target):
                version = ensure_version(client, name, source=source, run_id=run_id, tags=tags)
            if version.status == "READY":
                return str(version.version)
        except TrackingUnavailable as error:
            if error.stable_code == REFUSED:
                raise
            reason = error.message
        if time.monotonic() + _PAUSE_SECONDS > until:
            raise TrackingUnavailable(
                f"{name} was not registered within {limit_seconds:g} s: {reason}",
                code="registration_timeout",
                hint="Check MLflow, then register again: a version that was made after all is found again.",
            )
        time.sleep(_PAUSE_SECONDS)


def ensure_version(
    client: "MlflowClient", name: str, *, source: str, run_id: str | None, tags: Mapping[str, str]
) -> Any:
    """The version of this source and run; made, with its model, where it is missing."""
    ensure_model(client, name)
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.source == source and (known.run_id or None) == run_id:
            return known
    return client.create_model_version(
        name, source=source, run_id=run_id, tags=safe_tags(tags), await_creation_for=0
    )


def ensure_model(client: "MlflowClient", name: str) -> None:
    """Makes the registered model unless it is there."""
    try:
        client.create_registered_model(name)
    except Exception as error:
        if not is_already_there(error):
            raise


def set_alias(client: "MlflowClient", name: str, alias: str, version: str | None) -> None:
    """The alias on this version alone; None: on no version."""
    holder = aliases_of(client, name).get(alias)
    if version is None:
        if holder is not None:
            client.delete_registered_model_alias(name, alias)
    elif holder != version:
        client.set_registered_model_alias(name, alias, version)


def aliases_of(client: "MlflowClient", name: str) -> dict[str, str]:
    """The version's number of each alias of a model."""
    return {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}


def alias_of(stage: str) -> str | None:
    """The alias that stands for a stage.

    Raises:
        ValueError: there is no such stage.
    """
    if stage.lower() not in _ALIASES:
        raise ValueError(f"stage {stage!r}: one of Production, Staging, Archived, None")
    return _ALIASES[stage.lower()]


def set_stage(client: "MlflowClient", name: str, version: str, stage: str) -> None:
    """Production, Staging, Archived or None: the alias that stands for it, and a tag with its name.

    Whoever had the alias is archived.
    """
    alias, held = alias_of(stage), aliases_of(client, name)
    former = held.get(alias) if alias else None
    for other in {"champion", "challenger"} - {alias}:
        if held.get(other) == version:
            client.delete_registered_model_alias(name, other)
    if alias is not None:
        client.set_registered_model_alias(name, alias, version)
    client.set_model_version_tag(name, version, STAGE_TAG, stage.lower())
    if former is not None and former != version:
        client.set_model_version_tag(name, former, STAGE_TAG, "archived")
