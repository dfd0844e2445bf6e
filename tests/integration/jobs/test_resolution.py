"""What exports and evaluations refer to is found, or refused by name, when the job is accepted."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Artifact, Checkpoint, Job
from heimdall_core.domain.errors import Conflict, HeimdallError, InvalidRequest, NotFound, NotSupportedYet
from heimdall_core.domain.spec import (
    DatasetRef,
    EvaluateJobSpec,
    ExportJobSpec,
    ExportOutput,
    ExportSource,
    JobSpec,
    ModelRef,
    ModelSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.submission import submit_job

STORED = {"attempt": 1, "sha256": "a" * 64, "num_bytes": 7}


def queue(database: Database, spec: JobSpec, *, owner: str = "alice", sees_all: bool = False) -> Job:
    with database.transaction() as session:
        job = submit_job(session, spec, owner=owner, sees_all=sees_all)
        session.expunge(job)
    return job


def export_of(**source: Any) -> ExportJobSpec:
    return ExportJobSpec(kind="export", source=ExportSource(**source))


@pytest.fixture
def training(database: Database, submit: Callable[..., str]) -> str:
    """A training that succeeded and was registered as localization/1; it has one durable checkpoint too."""
    job_id = submit()
    with database.transaction() as session:
        ended = {"status": "succeeded", "finished_at": func.now()}
        session.execute(update(Job).where(Job.id == job_id).values(**ended))
        weights = {"id": "art_1", "name": "best.ckpt", "kind": "checkpoint", "uri": "s3://m/best.ckpt"}
        session.execute(
            insert(Artifact).values(job_id=job_id, media_type="application/octet-stream", **weights, **STORED)
        )
        durable = {"id": "ckpt_1", "uri": "s3://m/7.ckpt", "epoch": 1, "step": 7}
        session.execute(insert(Checkpoint).values(job_id=job_id, **durable, **STORED))
        session.add(Model(name="localization", champion_version=1))
        session.flush()
        session.add(registered(job_id, version=1))
    return job_id


def registered(job_id: str, *, version: int) -> ModelVersion:
    return ModelVersion(
        name="localization",
        version=version,
        job_id=job_id,
        dataset_name="north",
        dataset_version=1,
        dataset_digest="d" * 64,
        onnx_uri="s3://m/model.onnx",
        onnx_sha256="b" * 64,
        onnx_num_bytes=9,
        metrics={},
        created_by="alice",
    )


@pytest.mark.parametrize("source", ["job", "model", "version", "checkpoint"])
def test_an_export_finds_weights_dataset_and_training_of_its_source(
    database: Database, training: str, source: str
) -> None:
    spec = {
        "job": export_of(job_id=training),
        "model": export_of(model=ModelRef(name="localization")),
        "version": export_of(model=ModelRef(name="localization", version=1)),
        "checkpoint": export_of(checkpoint_id="ckpt_1"),
    }[source]
    job = queue(database, spec)
    expected = "s3://m/7.ckpt" if source == "checkpoint" else "s3://m/best.ckpt"
    assert job.inputs["weights"] == {"uri": expected, "sha256": "a" * 64, "num_bytes": 7}
    assert job.inputs["manifest_uri"] == "s3://heimdall-models/datasets/north/d.json"
    assert job.inputs["train_spec"]["dataset"] == {"name": "north", "version": 1}
    assert job.parent_job_id == training
    if source == "model":
        assert job.spec["source"]["model"] == {"name": "localization", "version": 1}


def test_an_export_does_not_register_unless_asked(database: Database, training: str) -> None:
    assert queue(database, export_of(job_id=training)).spec["register"]["enabled"] is False


def test_the_export_of_an_export_takes_the_same_weights(database: Database, training: str) -> None:
    first = queue(database, export_of(checkpoint_id="ckpt_1"))
    with database.transaction() as session:
        ended = {"status": "succeeded", "finished_at": func.now()}
        session.execute(update(Job).where(Job.id == first.id).values(**ended))
    again = queue(database, export_of(job_id=first.id))
    assert again.inputs == first.inputs
    assert again.parent_job_id == training


@pytest.mark.parametrize(
    ("spec", "error", "code", "pointer"),
    [
        (export_of(), InvalidRequest, "invalid_request", "/source"),
        (export_of(job_id="job_1", checkpoint_id="ckpt_1"), InvalidRequest, "invalid_request", "/source"),
        (export_of(job_id="job_none"), NotFound, "job_not_found", "/source/job_id"),
        (export_of(checkpoint_id="ckpt_0"), NotFound, "checkpoint_not_found", "/source/checkpoint_id"),
        (export_of(model=ModelRef(name="moon")), NotFound, "model_not_found", "/source/model/name"),
        (
            export_of(model=ModelRef(name="localization", version=9)),
            NotFound,
            "model_version_not_found",
            "/source/model/version",
        ),
        (
            EvaluateJobSpec(kind="evaluate", model=ModelRef(name="moon"), dataset=DatasetRef(name="north")),
            NotFound,
            "model_not_found",
            "/model/name",
        ),
        (
            EvaluateJobSpec(
                kind="evaluate", model=ModelRef(name="localization"), dataset=DatasetRef(name="south")
            ),
            NotFound,
            "dataset_not_found",
            "/dataset/name",
        ),
    ],
)
@pytest.mark.usefixtures("training")
def test_what_is_not_there_is_named_and_nothing_is_queued(
    database: Database, spec: JobSpec, error: type[HeimdallError], code: str, pointer: str
) -> None:
    with pytest.raises(error) as refusal:
        queue(database, spec)
    assert refusal.value.stable_code == code
    assert [p.pointer for p in refusal.value.problems] == [pointer]  # type: ignore[attr-defined]
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_a_training_that_has_not_succeeded_points_to_its_checkpoints(
    database: Database, submit: Callable[..., str]
) -> None:
    job_id = submit()
    with pytest.raises(Conflict, match="is queued") as refusal:
        queue(database, export_of(job_id=job_id))
    assert refusal.value.stable_code == "source_unusable"
    assert f"/v1/jobs/{job_id}/checkpoints" in (refusal.value.hint or "")


@pytest.mark.parametrize("source", ["job_id", "checkpoint_id"])
def test_another_owners_job_cannot_be_exported_except_by_an_admin(
    database: Database, training: str, source: str
) -> None:
    spec = export_of(**{source: training if source == "job_id" else "ckpt_1"})
    with pytest.raises(NotFound):
        queue(database, spec, owner="mallory")
    assert queue(database, spec, owner="admin", sees_all=True).owner == "admin"


def training_from(*, version: int | None = None, name: str = "localization", **model: Any) -> TrainJobSpec:
    return TrainJobSpec(
        kind="train",
        dataset=DatasetRef(name="north"),
        model=ModelSpec(**model),
        init_from=ModelRef(name=name, version=version),
    )


@pytest.mark.usefixtures("training")
def test_a_training_finds_the_weights_of_the_champion_and_writes_its_version_down(database: Database) -> None:
    job = queue(database, training_from())
    assert job.spec["init_from"] == {"name": "localization", "version": 1}
    assert job.inputs["init_weights"] == {"uri": "s3://m/best.ckpt", "sha256": "a" * 64, "num_bytes": 7}
    assert job.inputs["manifest_uri"] == "s3://heimdall-models/datasets/north/d.json"
    assert job.parent_job_id is None


@pytest.mark.usefixtures("training")
def test_a_version_that_an_export_made_gives_the_weights_it_exported(database: Database) -> None:
    export = queue(database, export_of(checkpoint_id="ckpt_1"))
    with database.transaction() as session:
        ended = {"status": "succeeded", "finished_at": func.now()}
        session.execute(update(Job).where(Job.id == export.id).values(**ended))
        session.add(registered(export.id, version=2))
    job = queue(database, training_from(version=2))
    assert job.inputs["init_weights"]["uri"] == "s3://m/7.ckpt"


def test_a_mixture_starts_no_network_of_fewer_components(database: Database, training: str) -> None:
    with database.transaction() as session:
        job = session.get_one(Job, training)
        model = {**job.spec["model"], "covariance": "full", "components": 4}
        job.spec = {**job.spec, "model": model}
    with pytest.raises(InvalidRequest, match="do not fit") as refusal:
        queue(database, training_from())
    assert refusal.value.stable_code == "init_from_does_not_fit"
    assert [p.pointer for p in refusal.value.problems] == ["/model/components"]
    assert queue(database, training_from(covariance="full", components=4)).spec["init_from"]["version"] == 1


@pytest.mark.parametrize(
    ("spec", "error", "code", "pointer"),
    [
        (training_from(name="moon"), NotFound, "model_not_found", "/init_from/name"),
        (training_from(version=9), NotFound, "model_version_not_found", "/init_from/version"),
        (training_from(backbone="micro"), InvalidRequest, "init_from_does_not_fit", "/model/backbone"),
        (training_from(pretrained=True), InvalidRequest, "bad_start", "/model/pretrained"),
    ],
)
@pytest.mark.usefixtures("training")
def test_weights_that_are_not_there_or_do_not_fit_are_named_and_nothing_is_queued(
    database: Database, spec: JobSpec, error: type[HeimdallError], code: str, pointer: str
) -> None:
    with pytest.raises(error) as refusal:
        queue(database, spec)
    assert refusal.value.stable_code == code
    assert [p.pointer for p in refusal.value.problems] == [pointer]  # type: ignore[attr-defined]
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_a_version_whose_weights_were_not_kept_is_refused(database: Database, training: str) -> None:
    with database.transaction() as session:
        session.execute(delete(Artifact).where(Artifact.job_id == training))
    with pytest.raises(Conflict, match=r"kept no best\.ckpt") as refusal:
        queue(database, training_from())
    assert [p.pointer for p in refusal.value.problems] == ["/init_from"]


@pytest.mark.usefixtures("training")
def test_an_evaluation_knows_the_model_file_the_data_and_what_was_trained_on(database: Database) -> None:
    spec = EvaluateJobSpec(
        kind="evaluate", model=ModelRef(name="localization"), dataset=DatasetRef(name="north"), split="val"
    )
    job = queue(database, spec)
    assert job.inputs["onnx"] == {"uri": "s3://m/model.onnx", "sha256": "b" * 64, "num_bytes": 9}
    assert job.inputs["manifest_sha256"] == job.inputs["trained_on"]["manifest_sha256"]
    assert job.spec["model"]["version"] == 1
    assert job.spec["dataset"]["version"] == 1


@pytest.mark.usefixtures("training")
def test_an_opset_that_cannot_be_had_is_refused_by_name(database: Database) -> None:
    spec = ExportJobSpec(
        kind="export",
        source=ExportSource(model=ModelRef(name="localization")),
        outputs=(ExportOutput(precision="int8", opset=21),),
    )
    with pytest.raises(NotSupportedYet) as refusal:
        queue(database, spec)
    assert [p.pointer for p in refusal.value.problems] == ["/outputs/0/opset"]
