"""Where a run is tracked."""

from dataclasses import dataclass

#: The tag that ties an MLflow run to its job: a resumed job goes on in the same run.
JOB_ID_TAG = "heimdall.job_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingTarget:
    """An MLflow server (or database URI) and an experiment."""

    uri: str
    experiment: str
