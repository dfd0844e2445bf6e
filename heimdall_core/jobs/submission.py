"""T1: a request becomes a row."""

from dataclasses import replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, Upload
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict, FieldProblem, NotFound
from heimdall_core.domain.spec import ImportJobSpec, JobSpec, TrainJobSpec, spec_to_dict
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.support import refuse_bad_name, refuse_unsupported


def submit_job(session: Session, spec: JobSpec, *, owner: str) -> Job:
    """Queues a job; commit, then hint.

    Raises:
        NotFound: the dataset, its version or the upload does not exist.
        InvalidRequest: the model's name cannot stand in a path.
        NotSupportedYet: the spec asks for what this version does not build.
    """
    refuse_bad_name(spec)
    refuse_unsupported(spec)
    if isinstance(spec, TrainJobSpec):
        spec, inputs = _resolve_training(session, spec)
    else:
        inputs = _resolve_import(session, spec, owner)
    job = Job(
        id=new_id("job"),
        kind=spec.kind,
        owner=owner,
        status="queued",
        spec=spec_to_dict(spec),
        inputs=inputs,
        tags=dict(spec.tags),
        priority=spec.priority.value,
        priority_rank=spec.priority.rank,
        accelerator=spec.resources.accelerator if isinstance(spec, TrainJobSpec) else "cpu",
        max_attempts=spec.limits.max_attempts,
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    record_event(session, job, "job.queued")
    return job


def _resolve_training(session: Session, spec: TrainJobSpec) -> tuple[TrainJobSpec, dict[str, Any]]:
    dataset = _find_dataset(session, spec)
    resolved = replace(spec, dataset=replace(spec.dataset, version=dataset.version))
    return resolved, {
        "manifest_uri": dataset.manifest_uri,
        "manifest_sha256": dataset.manifest_sha256,
        "dataset_digest": dataset.digest,
    }


def _find_dataset(session: Session, spec: TrainJobSpec) -> DatasetVersion:
    name, version = spec.dataset.name, spec.dataset.version
    newest = session.scalar(select(func.max(DatasetVersion.version)).where(DatasetVersion.name == name))
    if newest is None:
        raise _missing(
            "/dataset/name", f"no dataset {name!r}", "GET /v1/datasets lists them", "dataset_not_found"
        )
    dataset = session.get(DatasetVersion, (name, version or newest))
    if dataset is None:
        raise _missing(
            "/dataset/version",
            f"dataset {name!r} has no version {version}",
            f"its newest version is {newest}",
            "dataset_version_not_found",
        )
    return dataset


def _resolve_import(session: Session, spec: ImportJobSpec, owner: str) -> dict[str, Any]:
    upload = session.get(Upload, spec.upload_id)
    if upload is None or upload.owner != owner:
        raise _missing(
            "/upload_id", f"no upload {spec.upload_id!r}", "POST /v1/uploads makes one", "upload_not_found"
        )
    if upload.completed_at is None:
        raise Conflict(
            f"upload {upload.id} is not complete",
            code="upload_not_complete",
            hint=f"PUT its files, then POST /v1/uploads/{upload.id}:complete",
        )
    return {"upload_id": upload.id, "files": upload.files, "options": upload.options}


def _missing(pointer: str, message: str, remedy: str, code: str) -> NotFound:
    return NotFound(
        message, hint=remedy, code=code, problems=(FieldProblem(pointer=pointer, detail=message),)
    )
