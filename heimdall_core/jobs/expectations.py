"""What a job will probably take, as like jobs did; what nothing is known of is said to be unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, ClassVar

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job, JobAttempt, Worker
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.domain.spec import STRICT
from heimdall_core.jobs.capacity import devices_of

_LOOKED_AT = 200
"""Succeeded jobs among which like ones are looked for, the newest."""
_USED = 50
_OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Half of like jobs are below the one, nine in ten below the other."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    p50: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEvidence:
    """What like jobs show; a like job has the same backbone and number of devices."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    sufficed_bytes: int | None
    """Least memory of a worker on which one with such a batch or a larger one succeeded; null: unknown."""
    ran_out_of_bytes: int | None
    """Most memory of a worker on which one with such a batch or a smaller one ran out; null: none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """Estimates from history."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    num_like_jobs: int
    """That succeeded: of a training with the same backbone and devices, else of the same kind. 0: unknown."""
    duration_seconds: Span | None
    """From start to end, a training with all its epochs: early stopping ends it sooner. Null: unknown."""
    samples_per_second: float | None
    """Sessions that a training passes, median of like jobs; null: unknown."""
    memory: MemoryEvidence


def expect(session: Session, job: Job, *, num_train: int | None) -> Expectations:
    """What a job that is not queued yet will take.

    Args:
        session: the transaction.
        job: its row.
        num_train: training sessions of its dataset; None: it has none.
    """
    rows = session.execute(_newest_succeeded(job)).all()
    like = [row for row in rows if is_like(row.spec, job.spec)][:_USED]
    if job.kind != JobKind.TRAIN or num_train is None:
        spent = [float(row.seconds) for row in like]
        return Expectations(
            num_like_jobs=len(spent),
            duration_seconds=span_of(spent),
            samples_per_second=None,
            memory=MemoryEvidence(sufficed_bytes=None, ran_out_of_bytes=None),
        )
    paces = [pace for row in like if (pace := Pace.of(row.progress, row.num_train, float(row.seconds)))]
    epochs = job.spec["training"]["epochs"]
    return Expectations(
        num_like_jobs=len(paces),
        duration_seconds=span_of([pace.seconds_for(num_train * epochs) for pace in paces]),
        samples_per_second=median(pace.samples_per_second for pace in paces) if paces else None,
        memory=_memory(session, job),
    )


def is_like(spec: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two specifications of one kind ask for about the same work per session."""
    backbones = [(s.get("model") or {}).get("backbone") for s in (spec, other)]
    return backbones[0] == backbones[1] and devices_of(spec) == devices_of(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a training was, and what it took besides."""

    samples_per_second: float
    other_seconds: float

    @staticmethod
    def of(progress: Mapping[str, Any] | None, num_train: int | None, seconds: float) -> "Pace | None":
        """Of a training that took so many seconds in all; None: it did not report enough."""
        speed, epoch = (progress or {}).get("samples_per_second"), (progress or {}).get("epoch")
        if not speed or not epoch or not num_train:
            return None
        return Pace(samples_per_second=speed, other_seconds=max(0.0, seconds - epoch * num_train / speed))

    def seconds_for(self, num_samples: int) -> float:
        """For so many samples, over all epochs, at this pace."""
        return num_samples / self.samples_per_second + self.other_seconds


def span_of(values: Sequence[float]) -> Span | None:
    """Median and 90th percentile; None: there is no value."""
    if not values:
        return None
    p90 = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    return Span(p50=round(median(values), 1), p90=round(p90, 1))


def _newest_succeeded(job: Job) -> Select[*tuple[Any, ...]]:
    seconds = func.extract("epoch", Job.finished_at - Job.started_at).label("seconds")
    dataset = Job.spec["dataset"]
    is_its = and_(
        DatasetVersion.name == dataset["name"].as_string(),
        DatasetVersion.version == dataset["version"].as_integer(),
    )
    num_train = DatasetVersion.counts["train"].as_integer().label("num_train")
    return (
        select(Job.spec, Job.progress, seconds, num_train)
        .outerjoin(DatasetVersion, is_its)
        .where(Job.status == JobStatus.SUCCEEDED.value, Job.kind == job.kind)
        .order_by(Job.finished_at.desc())
        .limit(_LOOKED_AT)
    )


def _memory(session: Session, job: Job) -> MemoryEvidence:
    wanted = job.spec["training"]["batch_size"]
    rows = [row for row in session.execute(_newest_ends(job)) if is_like(row.spec, job.spec)]
    sufficed = [row.memory_bytes for row in rows if row.outcome == "succeeded" and _batch(row) >= wanted]
    ran_out = [row.memory_bytes for row in rows if row.code == _OUT_OF_MEMORY and _batch(row) <= wanted]
    return MemoryEvidence(
        sufficed_bytes=min(sufficed, default=None), ran_out_of_bytes=max(ran_out, default=None)
    )


def _batch(row: Any) -> int:
    return int(row.spec["training"]["batch_size"])


def _newest_ends(job: Job) -> Select[*tuple[Any, ...]]:
    """The newest attempts of the kind, on workers that are still known."""
    return (
        select(
            Job.spec,
            JobAttempt.outcome,
            JobAttempt.error["code"].as_string().label("code"),
            Worker.memory_bytes,
        )
        .join(JobAttempt, JobAttempt.job_id == Job.id)
        .join(Worker, Worker.name == JobAttempt.worker)
        .where(Job.finished_at.is_not(None), Job.kind == job.kind, Worker.memory_bytes.is_not(None))
        .order_by(Job.finished_at.desc())
        .limit(_LOOKED_AT)
    )
