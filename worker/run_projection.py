"""A job's run in MLflow, completed from the job's rows: curves, parameters, files, and how it ended."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import select

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Artifact, Job, MetricPoint
from heimdall_core.domain.job import JobStatus
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.storage.s3_errors import translated
from heimdall_core.tracking.client import create_run, find_run
from heimdall_core.tracking.items import Item, Point, RunStart
from heimdall_core.tracking.params import flatten_params, safe_name
from heimdall_core.tracking.sending import KnownSteps, RunWriter
from heimdall_core.tracking.target import JOB_ID_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

_STATUSES = {
    JobStatus.SUCCEEDED.value: "FINISHED",
    JobStatus.FAILED.value: "FAILED",
    JobStatus.CANCELLED.value: "KILLED",
}
#: What a trainer gives MLflow besides: small, and for people.
_TRACKED_FILES = ("manifest", "plot", "report")
_STRAYS_PER_LOOK = 200
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What is read and what is written."""

    client: "MlflowClient"
    experiment_id: str
    database: Database
    store: ObjectStore
    run_name_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedRun:
    """A job's run that is complete but for its files."""

    projection: Projection
    run_id: str
    artifacts: Sequence[Artifact]

    def send_artifacts(self) -> None:
        """Copies those files of the job that the run has not from the object store.

        Raises:
            InfrastructureError: the object store or MLflow did not answer.
        """
        client = self.projection.client
        if not self.artifacts:
            return
        with translated("MLflow's store of artifacts"):
            present = {found.path for found in client.list_artifacts(self.run_id)}
        with tempfile.TemporaryDirectory(prefix="heimdall-projection-") as folder:
            for artifact in self.artifacts:
                if artifact.name not in present:
                    path = Path(folder) / artifact.name
                    self.projection.store.get_file(artifact.uri, path)
                    with translated("MLflow's store of artifacts"):
                        client.log_artifact(self.run_id, str(path))


def project_run(projection: Projection, job_id: str) -> ProjectedRun:
    """Finds the ended job's run or makes it, adds what it lacks, and ends it."""
    with projection.database.transaction() as session:
        job = session.get_one(Job, job_id)
        points = session.scalars(
            select(MetricPoint)
            .where(MetricPoint.job_id == job_id)
            .order_by(MetricPoint.created_at, MetricPoint.step, MetricPoint.name)
        ).all()
        artifacts = session.scalars(
            select(Artifact).where(
                Artifact.job_id == job_id, Artifact.attempt == job.attempt, Artifact.kind.in_(_TRACKED_FILES)
            )
        ).all()
    client = projection.client
    run_id = _complete(projection, _start_of(job, projection.run_name_prefix), job, points)
    _end(client, run_id, job)
    return ProjectedRun(projection=projection, run_id=run_id, artifacts=artifacts)


def end_strays(projection: Projection) -> None:
    """Ends runs that say they are running though their jobs have ended.

    A trainer that thawed said so; or a call that was answered too late made a second run of a job.
    """
    running = projection.client.search_runs(
        [projection.experiment_id], "attributes.status = 'RUNNING'", max_results=_STRAYS_PER_LOOK
    )
    job_ids = {run.data.tags.get(JOB_ID_TAG) for run in running}
    with projection.database.transaction() as session:
        ended = session.scalars(
            select(Job).where(
                Job.id.in_(job_ids - {None}), Job.status.in_(_STATUSES), Job.started_at.is_not(None)
            )
        ).all()
    for job in ended:
        project_run(projection, job.id)
        for run in running:
            if run.data.tags.get(JOB_ID_TAG) == job.id:
                _end(projection.client, run.info.run_id, job)


def _start_of(job: Job, prefix: str) -> RunStart:
    assert job.started_at is not None
    return RunStart(
        key=job.id,
        key_tag=JOB_ID_TAG,
        name=f"{prefix}{job.id}",
        tags={JOB_ID_TAG: job.id, "heimdall.attempt": str(job.attempt)},
        at_ms=int(job.started_at.timestamp() * 1000),
    )


def _complete(projection: Projection, start: RunStart, job: Job, points: Sequence[MetricPoint]) -> str:
    client = projection.client
    run: Any = find_run(client, projection.experiment_id, start)
    if run is None:
        run = client.get_run(create_run(client, projection.experiment_id, start))
    run_id = str(run.info.run_id)
    writer = RunWriter(
        client,
        run_id,
        params=run.data.params,
        steps=KnownSteps(client, run_id, run.data.metrics),
        notice=lambda message: _log.warning("projection_notice", job_id=job.id, message=message),
    )
    if not run.data.params:
        digest = {"dataset_digest": value} if (value := job.inputs.get("dataset_digest")) else {}
        writer.write(Item(params=flatten_params({**job.spec, **digest}).values))
    writer.write(Item(points=tuple(_point(point) for point in points)))
    return run_id


def _point(row: MetricPoint) -> Point:
    at_ms = int(row.created_at.timestamp() * 1000)
    return Point(name=safe_name(row.name), value=row.value, step=row.step, at_ms=at_ms)


def _end(client: "MlflowClient", run_id: str, job: Job) -> None:
    assert job.finished_at is not None
    status = _STATUSES[job.status]
    if client.get_run(run_id).info.status != status:
        client.set_terminated(run_id, status, int(job.finished_at.timestamp() * 1000))
