"""Jobs to play with."""

from collections.abc import Callable

import pytest

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.engine import Database
from heimdall_core.domain.job import Priority
from heimdall_core.domain.spec import DatasetRef, LimitsSpec, TrainJobSpec
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.submission import submit_job

WORKER = WorkerIdentity(name="worker@a", host="a", boot_id="boot", has_gpu=False)
OTHER = WorkerIdentity(name="worker@b", host="b", boot_id="boot", has_gpu=False)


@pytest.fixture
def dataset(database: Database) -> str:
    """The name of a dataset with one version."""
    row = DatasetVersion(
        name="north",
        version=1,
        digest="d" * 64,
        manifest_uri="s3://heimdall-models/datasets/north/d.json",
        manifest_sha256="e" * 64,
        counts={},
        receivers=[],
        query={},
        split={},
        created_by="tests",
    )
    with database.transaction() as session:
        session.add(row)
    return row.name


@pytest.fixture
def submit(database: Database, dataset: str) -> Callable[..., str]:
    """Queues a training job and returns its id."""

    def submit_training(
        *, priority: Priority = Priority.NORMAL, max_attempts: int = 3, owner: str = "alice"
    ) -> str:
        spec = TrainJobSpec(
            kind="train",
            dataset=DatasetRef(name=dataset),
            priority=priority,
            limits=LimitsSpec(max_attempts=max_attempts),
        )
        with database.transaction() as session:
            return submit_job(session, spec, owner=owner).id

    return submit_training


@pytest.fixture
def claim(database: Database) -> Callable[..., Claim | None]:
    """Claims the next job."""

    def claim_next(worker: WorkerIdentity = WORKER, *, lease_seconds: float = 60.0) -> Claim | None:
        with database.transaction() as session:
            return claim_job(session, worker, lease_seconds=lease_seconds)

    return claim_next
