"""The jobs of a run: tiny trainings and imports, some of them ill-behaved."""

import random
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func

from heimdall_core.catalogue.importing import UploadedFile, import_files
from heimdall_core.catalogue.publishing import publish_import
from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.datasets.definition import DatasetDefinition, SplitSpec
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.domain.job import Priority
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportSpec,
    ImportJobSpec,
    JobSpec,
    LimitsSpec,
    ModelSpec,
    RegisterSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.submission import submit_job
from heimdall_core.recordings.archive import pack_session
from heimdall_core.settings import Settings
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage import S3Store
from tests.chaos.trainer_hooks import BEHAVIOUR

NUM_SESSIONS = 40
NUM_IMPORTED = 3
OWNERS = ("ada", "ben", "cid")
#: A model that no registered version has: each registering job must make one.
MODEL = "chaos"


class _Silent:
    """A reporter that nobody listens to."""

    def stop_requested(self) -> None:
        return None

    def finish_requested(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@dataclass(slots=True)
class Workload:
    """Submits jobs, the same ones for the same seed.

    Args:
        database: where they are queued.
        store: where recordings lie.
        settings: names the buckets.
    """

    database: Database
    store: S3Store
    settings: Settings
    _files: list[dict[str, Any]] = field(default_factory=list)

    def prepare(self) -> None:
        """Uploads the recordings and freezes the dataset that all trainings share."""
        files = []
        for number, session in enumerate(simulate_sessions(NUM_SESSIONS, seed=7)):
            name, uri = f"{number}.sigmf", f"s3://{self.settings.storage.raw_bucket}/chaos/{number}.sigmf"
            stored = self.store.put_bytes(uri, pack_session(session).data)
            files.append(UploadedFile(name=name, uri=uri, num_bytes=stored.num_bytes))
            self._files.append(
                {"name": name, "uri": uri, "num_bytes": stored.num_bytes, "sha256": stored.sha256}
            )
        report = import_files(
            files,
            store=self.store,
            recordings_uri=f"s3://{self.settings.storage.raw_bucket}/recordings",
            reporter=_Silent(),
            settings=FeatureSettings(),
            receivers=None,
        )
        job_id = self.submit(self._import(LimitsSpec()), owner="setup", status="cancelled")
        with self.database.transaction() as session:
            publish_import(session, report, job_id=job_id, auto_approve=True)
        with self.database.transaction() as session:
            definition = DatasetDefinition(name="tiny", split=SplitSpec(block_km=20))
            freeze_dataset(
                session,
                definition,
                store=self.store,
                bucket=self.settings.storage.models_bucket,
                raw_bucket=self.settings.storage.raw_bucket,
                created_by="chaos",
            )

    def submit(self, spec: JobSpec, *, owner: str = "ada", status: str = "queued") -> str:
        """Queues the job; ``cancelled``: it is only there to be referred to."""
        with self.database.transaction() as session:
            job = submit_job(session, spec, owner=owner, sees_all=True)
            if status != "queued":
                job.status, job.finished_at = status, func.now()
            return job.id

    def next(self, random_: random.Random) -> JobSpec:
        """A job of the mix."""
        kind = random_.choices(
            ("short", "long", "quiet", "registering", "import"), weights=(50, 12, 13, 5, 20)
        )[0]
        limits = LimitsSpec(max_attempts=random_.choice((4, 6, 8)))
        priority = random_.choice((Priority.LOW, Priority.NORMAL, Priority.NORMAL, Priority.HIGH))
        if kind == "import":
            return self._import(limits, priority)
        if kind == "quiet":
            return self.training(epochs=2, limits=limits, priority=priority, behaviour="quiet")
        epochs = random_.randint(25, 50) if kind == "long" else random_.randint(1, 4)
        return self.training(epochs=epochs, registers=kind == "registering", limits=limits, priority=priority)

    def training(
        self,
        *,
        epochs: int,
        registers: bool = False,
        limits: LimitsSpec | None = None,
        priority: Priority = Priority.NORMAL,
        behaviour: str | None = None,
    ) -> TrainJobSpec:
        """A tiny training."""
        return TrainJobSpec(
            kind="train",
            dataset=DatasetRef(name="tiny"),
            model=ModelSpec(name=MODEL, backbone="micro"),
            training=TrainingSpec(
                epochs=epochs, batch_size=8, early_stopping_patience=None, augment=False, precision="fp32"
            ),
            export=ExportSpec(enabled=registers),
            register=RegisterSpec(enabled=registers),
            limits=limits or LimitsSpec(),
            priority=priority,
            tags={BEHAVIOUR: behaviour} if behaviour else {},
        )

    def _import(self, limits: LimitsSpec, priority: Priority = Priority.NORMAL) -> ImportJobSpec:
        upload = new_id("upl")
        with self.database.transaction() as session:
            files = self._files[:NUM_IMPORTED]
            session.add(Upload(id=upload, owner="ada", files=files, completed_at=func.now()))
        return ImportJobSpec(kind="import", upload_id=upload, limits=limits, priority=priority)


def statuses(database: Database) -> dict[str, str]:
    """Of every job of the run."""
    from sqlalchemy import select

    with database.transaction() as session:
        rows = session.execute(select(Job.id, Job.status).where(Job.owner != "setup"))
        return {row.id: row.status for row in rows}
