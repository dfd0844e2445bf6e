"""A tracker from the settings."""

from typing import TYPE_CHECKING, overload

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.settings import Settings
from heimdall_core.tracking.client import connect
from heimdall_core.tracking.target import TrackingTarget, target_of
from heimdall_core.tracking.tracker import MLflowTracker

if TYPE_CHECKING:
    from mlflow import MlflowClient


@overload
def initialize_mlflow(settings: Settings) -> MLflowTracker: ...


@overload
def initialize_mlflow(settings: str, experiment: str) -> tuple["MlflowClient", str]: ...


def initialize_mlflow(
    settings: Settings | str, experiment: str | None = None
) -> "MLflowTracker | tuple[MlflowClient, str]":
    """A tracker without a run yet; of a URI and an experiment: a client and the experiment's id.

    Raises:
        TrackingUnavailable: nothing is configured; or the server at the URI did not answer, or refused.
    """
    if isinstance(settings, str):
        assert experiment is not None
        return connect(TrackingTarget(uri=settings, experiment=experiment))
    if (target := target_of(settings)) is None:
        raise TrackingUnavailable(
            "no MLflow is configured",
            hint="Set HEIMDALL_TRACKING__URI or HEIMDALL_TRACKING__BACKEND_STORE_URI.",
        )
    return MLflowTracker(target)
