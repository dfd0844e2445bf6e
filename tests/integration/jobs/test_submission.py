"""What is accepted, what is refused, and that a refusal queues nothing."""

import pytest
from sqlalchemy import func, select

from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict, InvalidRequest, NotFound, NotSupportedYet
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportOutput,
    ExportSpec,
    ImportJobSpec,
    JobSpec,
    ModelSpec,
    ResourcesSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.queries import JobFilter, find_job, list_jobs
from heimdall_core.jobs.submission import submit_job


def count_jobs(database: Database) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def submit(database: Database, spec: JobSpec, owner: str = "alice") -> str:
    with database.transaction() as session:
        return submit_job(session, spec, owner=owner).id


@pytest.mark.parametrize(
    ("reference", "pointer", "code"),
    [
        (DatasetRef(name="south"), "/dataset/name", "dataset_not_found"),
        (DatasetRef(name="north", version=9), "/dataset/version", "dataset_version_not_found"),
    ],
)
def test_an_unknown_dataset_is_named_and_nothing_is_queued(
    database: Database, dataset: str, reference: DatasetRef, pointer: str, code: str
) -> None:
    with pytest.raises(NotFound) as refusal:
        submit(database, TrainJobSpec(kind="train", dataset=reference))
    assert refusal.value.stable_code == code
    assert [p.pointer for p in refusal.value.problems] == [pointer]
    assert count_jobs(database) == 0


def test_the_newest_version_is_written_into_the_accepted_spec(database: Database, dataset: str) -> None:
    job_id = submit(database, TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset)))
    with database.transaction() as session:
        job = find_job(session, job_id, owner="alice")
        assert job.spec["dataset"] == {"name": "north", "version": 1}
        assert job.spec["training"]["epochs"] == 100
        assert job.inputs["manifest_uri"].startswith("s3://")


def test_everything_that_is_not_built_is_named_at_once(database: Database, dataset: str) -> None:
    spec = TrainJobSpec(
        kind="train",
        dataset=DatasetRef(name=dataset),
        resources=ResourcesSpec(num_nodes=2),
        export=ExportSpec(outputs=(ExportOutput(precision="int8", opset=21),)),
    )
    with pytest.raises(NotSupportedYet) as refusal:
        submit(database, spec)
    assert [p.pointer for p in refusal.value.problems] == ["/resources/num_nodes", "/export/outputs/0/opset"]
    assert count_jobs(database) == 0


def test_weights_that_cannot_start_so_are_refused_and_nothing_is_queued(
    database: Database, dataset: str
) -> None:
    model = ModelSpec(backbone="micro", pretrained=True)
    with pytest.raises(InvalidRequest) as refusal:
        submit(database, TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset), model=model))
    assert [p.pointer for p in refusal.value.problems] == ["/model/pretrained"]
    assert count_jobs(database) == 0


def test_an_import_needs_the_callers_own_completed_upload(database: Database) -> None:
    with database.transaction() as session:
        session.add(Upload(id="upl_1", owner="alice", files=[]))
    spec = ImportJobSpec(kind="import", upload_id="upl_1")
    with pytest.raises(NotFound):
        submit(database, spec, owner="bob")
    with pytest.raises(Conflict) as refusal:
        submit(database, spec)
    assert refusal.value.stable_code == "upload_not_complete"


def test_a_job_of_somebody_else_is_not_found(database: Database, dataset: str) -> None:
    job_id = submit(database, TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset)))
    with database.transaction() as session:
        with pytest.raises(NotFound):
            find_job(session, job_id, owner="bob")
        assert find_job(session, job_id, owner=None).id == job_id


def test_pages_follow_each_other_without_gap_or_repeat(database: Database, dataset: str) -> None:
    wanted = [
        submit(database, TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset))) for _ in range(7)
    ]
    submit(database, TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset)), owner="bob")
    seen: list[str] = []
    cursor = None
    with database.transaction() as session:
        while True:
            page = list_jobs(session, JobFilter(owner="alice"), cursor=cursor, limit=3)
            seen += [job.id for job in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == wanted[::-1]


def test_filters_narrow_the_list(database: Database, dataset: str) -> None:
    plain = TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset))
    tagged = TrainJobSpec(
        kind="train", dataset=DatasetRef(name=dataset), model=ModelSpec(name="alps"), tags={"site": "giaveno"}
    )
    submit(database, plain)
    wanted = submit(database, tagged)
    for job_filter in (
        JobFilter(model="alps"),
        JobFilter(tag=("site", "giaveno")),
        JobFilter(tag=("site", None)),
        JobFilter(statuses=["queued"], kinds=["train"], model="alps"),
    ):
        with database.transaction() as session:
            page = list_jobs(session, job_filter, cursor=None, limit=10)
            assert [job.id for job in page.items] == [wanted]


@pytest.mark.parametrize("name", ["a/b", "a:b", "-a", "è"])
def test_a_model_name_must_fit_a_path(database: Database, dataset: str, name: str) -> None:
    spec = TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset), model=ModelSpec(name=name))
    with pytest.raises(InvalidRequest) as refusal:
        submit(database, spec)
    assert [p.pointer for p in refusal.value.problems] == ["/model/name"]
    assert count_jobs(database) == 0
