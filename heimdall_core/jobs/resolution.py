"""What a spec refers to, found when the job is accepted: the worker needs no further question."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, Model, ModelVersion, Upload
from heimdall_core.database.job_tables import Artifact, Checkpoint, Job
from heimdall_core.domain.errors import Conflict, FieldProblem, InvalidRequest, NotFound
from heimdall_core.domain.spec import (
    DatasetRef,
    EvaluateJobSpec,
    ExportJobSpec,
    ExportSource,
    ImportJobSpec,
    JobSpec,
    ModelRef,
    TrainJobSpec,
)

BEST_WEIGHTS = "best.ckpt"
"""The artifact of a training that holds its calibrated best epoch."""

Inputs = dict[str, Any]


def resolve(session: Session, spec: JobSpec, *, owner: str | None) -> tuple[JobSpec, Inputs]:
    """The spec with its versions filled in, and what the worker needs.

    Args:
        session: the transaction in which the job is queued.
        spec: as requested.
        owner: whose jobs and uploads may be referred to; None: everybody's.

    Raises:
        NotFound: what the spec refers to does not exist; the pointer says which.
        Conflict: it exists but cannot serve, e.g. a training that has not succeeded.
        InvalidRequest: an export does not name exactly one source, or a training starts from a model
            whose weights do not fit.
    """
    match spec:
        case TrainJobSpec():
            return _resolve_training(session, spec)
        case ExportJobSpec():
            return _resolve_export(session, spec, owner)
        case EvaluateJobSpec():
            return _resolve_evaluation(session, spec)
        case ImportJobSpec():
            return spec, _resolve_import(session, spec, owner)


def _resolve_training(session: Session, spec: TrainJobSpec) -> tuple[TrainJobSpec, Inputs]:
    dataset, inputs = _resolve_dataset(session, spec.dataset)
    spec = replace(spec, dataset=dataset)
    if spec.init_from is None:
        return spec, inputs
    version = _find_model_version(session, spec.init_from, "/init_from")
    source = _inputs_of(session, _job_of(session, version), "/init_from")
    _require_fitting(spec, version, source["train_spec"]["model"])
    resolved = replace(spec, init_from=replace(spec.init_from, version=version.version))
    return resolved, {**inputs, "init_weights": source["weights"]}


def _require_fitting(spec: TrainJobSpec, version: ModelVersion, trained: Mapping[str, Any]) -> None:
    """Raises InvalidRequest unless the version's weights can start the network that is to be trained."""
    name = f"{version.name}/{version.version}"
    backbone, components = trained["backbone"], trained.get("components", 1)
    if backbone != spec.model.backbone:
        detail = f"{name} has the backbone {backbone}; use that, or leave init_from null"
        raise _does_not_fit(f"the backbone {spec.model.backbone}", name, "/model/backbone", detail)
    if components not in {1, spec.model.components}:
        detail = f"{name} predicts {components} components; use that, or leave init_from null"
        what = f"a network of {spec.model.components}"
        raise _does_not_fit(what, name, "/model/components", detail)


def _does_not_fit(what: str, name: str, pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"the weights of {name} do not fit {what}",
        code="init_from_does_not_fit",
        hint=detail,
        problems=(FieldProblem(pointer=pointer, detail=detail),),
    )


def _resolve_dataset(session: Session, wanted: DatasetRef) -> tuple[DatasetRef, Inputs]:
    return resolved_dataset(wanted, _find_dataset(session, wanted))


def resolved_dataset(wanted: DatasetRef, row: Row[int, str, str, str]) -> tuple[DatasetRef, Inputs]:
    """The version that was found, and what of it the worker needs.

    Args:
        wanted: as requested.
        row: its ``version``, ``manifest_uri``, ``manifest_sha256`` and ``digest``.
    """
    inputs = {
        "manifest_uri": row.manifest_uri,
        "manifest_sha256": row.manifest_sha256,
        "dataset_digest": row.digest,
    }
    return replace(wanted, version=row.version), inputs


def _find_dataset(session: Session, wanted: DatasetRef) -> Row[int, str, str, str]:
    """What a job needs of the version, by one statement."""
    if wanted.version is None:
        row = session.execute(_NEWEST_DATASET, {"name": wanted.name}).first()
    else:
        row = session.execute(_DATASET, {"name": wanted.name, "version": wanted.version}).first()
    if row is None:
        raise _missing_dataset(session, wanted)
    return row


_ROWS = DatasetVersion.__table__.c
_DATASETS = select(_ROWS.version, _ROWS.manifest_uri, _ROWS.manifest_sha256, _ROWS.digest).where(
    _ROWS.name == bindparam("name")
)
_NEWEST_DATASET = _DATASETS.order_by(_ROWS.version.desc()).limit(1)
_DATASET = _DATASETS.where(_ROWS.version == bindparam("version"))


def _missing_dataset(session: Session, wanted: DatasetRef) -> NotFound:
    name = wanted.name
    newest = session.scalar(select(func.max(DatasetVersion.version)).where(DatasetVersion.name == name))
    if newest is None:
        return _missing(
            "/dataset/name", f"no dataset {name!r}", "GET /v1/datasets lists them", "dataset_not_found"
        )
    return _missing(
        "/dataset/version",
        f"dataset {name!r} has no version {wanted.version}",
        f"its newest version is {newest}",
        "dataset_version_not_found",
    )


def _resolve_export(session: Session, spec: ExportJobSpec, owner: str | None) -> tuple[ExportJobSpec, Inputs]:
    source = spec.source
    _require_one_source(source)
    if source.job_id is not None:
        origin = _find_job(session, source.job_id, owner, "/source/job_id")
        return spec, _inputs_of(session, origin, "/source/job_id")
    if source.checkpoint_id is not None:
        return spec, _inputs_of_checkpoint(session, source.checkpoint_id, owner)
    assert source.model is not None
    version = _find_model_version(session, source.model, "/source/model")
    model = replace(source.model, version=version.version)
    return replace(spec, source=replace(source, model=model)), _inputs_of(
        session, _job_of(session, version), "/source/model"
    )


def _require_one_source(source: ExportSource) -> None:
    given = [s for s in (source.job_id, source.checkpoint_id, source.model) if s is not None]
    if len(given) != 1:
        detail = "give exactly one of job_id, checkpoint_id and model"
        problem = FieldProblem(pointer="/source", detail=detail)
        raise InvalidRequest("an export has one source", problems=(problem,), hint=detail)


def _inputs_of(session: Session, origin: Job, pointer: str) -> Inputs:
    """What whoever uses a job's published weights needs; an export's are those that it exported."""
    if origin.kind == "export" and origin.status == "succeeded":
        return origin.inputs
    if origin.kind != "train" or origin.status != "succeeded":
        raise _unusable(
            pointer,
            f"job {origin.id} is a {origin.kind} job that is {origin.status}; it published no weights",
            f"use a training that succeeded, or one of GET /v1/jobs/{origin.id}/checkpoints as checkpoint_id",
        )
    weights = session.scalar(
        select(Artifact).where(Artifact.job_id == origin.id, Artifact.name == BEST_WEIGHTS)
    )
    if weights is None:
        raise _unusable(pointer, f"job {origin.id} kept no {BEST_WEIGHTS}", "train again")
    return _export_inputs(origin, weights)


def _inputs_of_checkpoint(session: Session, checkpoint_id: str, owner: str | None) -> Inputs:
    pointer = "/source/checkpoint_id"
    in_sight = (Checkpoint.id == checkpoint_id, Checkpoint.retired_at.is_(None))
    checkpoint = session.scalar(select(Checkpoint).where(*in_sight))
    origin = None if checkpoint is None else session.get(Job, checkpoint.job_id)
    if checkpoint is None or origin is None or (owner is not None and origin.owner != owner):
        raise _missing(
            pointer,
            f"no checkpoint {checkpoint_id!r}",
            "GET /v1/jobs/{id}/checkpoints lists those of a job",
            "checkpoint_not_found",
        )
    if origin.kind != "train":
        raise _unusable(pointer, f"the checkpoint is of a job of kind {origin.kind}", "use a training's")
    return _export_inputs(origin, checkpoint)


def _export_inputs(origin: Job, weights: Artifact | Checkpoint) -> Inputs:
    dataset = {key: origin.inputs[key] for key in ("manifest_uri", "manifest_sha256", "dataset_digest")}
    return {
        **dataset,
        "train_job_id": origin.id,
        "train_spec": origin.spec,
        "weights": {"uri": weights.uri, "sha256": weights.sha256, "num_bytes": weights.num_bytes},
    }


def _resolve_evaluation(session: Session, spec: EvaluateJobSpec) -> tuple[EvaluateJobSpec, Inputs]:
    version = _find_model_version(session, spec.model, "/model")
    dataset, inputs = _resolve_dataset(session, spec.dataset)
    resolved = replace(spec, model=replace(spec.model, version=version.version), dataset=dataset)
    onnx = {"uri": version.onnx_uri, "sha256": version.onnx_sha256, "num_bytes": version.onnx_num_bytes}
    trained_on = _job_of(session, version).inputs
    return resolved, {
        **inputs,
        "onnx": onnx,
        "trained_on": {key: trained_on[key] for key in ("manifest_uri", "manifest_sha256")},
    }


def _find_model_version(session: Session, wanted: ModelRef, pointer: str) -> ModelVersion:
    model = session.get(Model, wanted.name)
    if model is None:
        raise _missing(
            f"{pointer}/name", f"no model {wanted.name!r}", "GET /v1/models lists them", "model_not_found"
        )
    version = wanted.version or model.champion_version or _newest_version(session, model.name)
    row = session.get(ModelVersion, (model.name, version))
    if row is None:
        raise _missing(
            f"{pointer}/version",
            f"model {model.name!r} has no version {version}",
            f"GET /v1/models/{model.name}/versions lists them",
            "model_version_not_found",
        )
    return row


def _newest_version(session: Session, name: str) -> int | None:
    return session.scalar(select(func.max(ModelVersion.version)).where(ModelVersion.name == name))


def _job_of(session: Session, version: ModelVersion) -> Job:
    job = session.get(Job, version.job_id)
    assert job is not None, "a foreign key says so"
    return job


def _find_job(session: Session, job_id: str, owner: str | None, pointer: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or (owner is not None and job.owner != owner):
        raise _missing(pointer, f"no job {job_id!r}", "GET /v1/jobs lists yours", "job_not_found")
    return job


def _resolve_import(session: Session, spec: ImportJobSpec, owner: str | None) -> Inputs:
    upload = session.get(Upload, spec.upload_id)
    if upload is None or (owner is not None and upload.owner != owner):
        raise _missing(
            "/upload_id", f"no upload {spec.upload_id!r}", "POST /v1/uploads makes one", "upload_not_found"
        )
    if upload.completed_at is None:
        raise Conflict(
            f"upload {upload.id} is not complete",
            code="upload_not_complete",
            hint=f"PUT its files, then POST /v1/uploads/{upload.id}:complete",
        )
    if any("retired_at" in file for file in upload.files):
        raise Conflict(
            f"the files of upload {upload.id} are kept no longer",
            code="upload_expired",
            hint="POST /v1/uploads and PUT them again; what was imported is in the catalogue.",
        )
    return {"upload_id": upload.id, "files": upload.files, "options": upload.options}


def _missing(pointer: str, message: str, remedy: str, code: str) -> NotFound:
    return NotFound(
        message, hint=remedy, code=code, problems=(FieldProblem(pointer=pointer, detail=message),)
    )


def _unusable(pointer: str, message: str, remedy: str) -> Conflict:
    problem = FieldProblem(pointer=pointer, detail=message)
    return Conflict(message, code="source_unusable", hint=remedy, problems=(problem,))
