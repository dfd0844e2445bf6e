"""What a job will probably take, as like jobs did; what nothing is known of is said to be unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, Literal, cast

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job, JobAttempt
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.domain.spec import STRICT, Backbone
from heimdall_core.jobs.capacity import devices_of
from heimdall_core.jobs.memory_estimates import MemoryEstimate, estimate_memory
from heimdall_core.jobs.spans import Span, backbone_of, is_like, span_of
from heimdall_core.jobs.training_costs import relative_time

_LOOKED_AT = 200
"""Succeeded jobs among which like ones are looked for, the newest."""
_USED = 50
#: What was done on one machine may be done on another.
_SCALED_AT_MOST = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """Estimates, and what they rest on."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    basis: Literal["history", "other_networks", "nothing"]
    """Of the time. ``history``: like jobs; ``other_networks``: trainings of other backbones, by the
    arithmetic that each costs, so with a wide range; ``nothing``: no such job has succeeded yet."""
    num_like_jobs: int
    """That succeeded: of a training with the same backbone and devices, else of the same kind. 0: unknown."""
    duration_seconds: Span | None
    """From start to end, a training with all its epochs: early stopping ends it sooner. Null: unknown."""
    seconds_per_epoch: Span | None = None
    """Of a training, validation included; null: unknown."""
    samples_per_second: float | None = None
    """Sessions that a training passes, median of like jobs; null: unknown."""
    memory: MemoryEstimate | None = None
    """Of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSize:
    """What of a dataset version decides about time and memory."""

    num_train: int
    num_receivers: int


def expect(session: Session, job: Job, *, dataset: DatasetSize | None, alive_seconds: float) -> Expectations:
    """What a job that is not queued yet will take.

    Args:
        session: the transaction.
        job: its row.
        dataset: None: it has none.
        alive_seconds: a worker that was silent for longer does not count.
    """
    rows = session.execute(_newest_succeeded(job)).all()
    like = [row for row in rows if is_like(row.spec, job.spec)][:_USED]
    if job.kind != JobKind.TRAIN or dataset is None:
        spent = [float(row.seconds) for row in like]
        basis: Literal["history", "nothing"] = "history" if spent else "nothing"
        return Expectations(basis=basis, num_like_jobs=len(spent), duration_seconds=span_of(spent))
    memory = estimate_memory(session, job, num_receivers=dataset.num_receivers, alive_seconds=alive_seconds)
    return _expect_training(job.spec, dataset.num_train, rows, like, memory)


def _expect_training(
    spec: Mapping[str, Any],
    num_train: int,
    rows: Sequence[Any],
    like: Sequence[Any],
    memory: MemoryEstimate,
) -> Expectations:
    paces = _paces(like)
    if not paces:
        return _by_other_networks(spec, num_train, rows, memory)
    epochs = spec["training"]["epochs"]
    return Expectations(
        basis="history",
        num_like_jobs=len(paces),
        duration_seconds=span_of([pace.seconds_for(num_train * epochs) for pace in paces]),
        seconds_per_epoch=span_of([num_train * pace.seconds_per_sample for pace in paces]),
        samples_per_second=median(pace.samples_per_second for pace in paces),
        memory=memory,
    )


def _by_other_networks(
    spec: Mapping[str, Any], num_train: int, rows: Sequence[Any], memory: MemoryEstimate
) -> Expectations:
    backbone = _named(spec)
    others = [row for row in rows if devices_of(row.spec) == devices_of(spec)][:_USED]
    known = [(pace, _named(row.spec)) for row in others for pace in _paces([row])]
    if not known:
        return Expectations(basis="nothing", num_like_jobs=0, duration_seconds=None, memory=memory)
    work: list[tuple[Pace, float]] = [(pace, relative_time(backbone, other)) for pace, other in known]
    epoch = _wide([num_train * pace.seconds_per_sample * times for pace, times in work])
    besides = median(pace.other_seconds for pace, _ in work)
    epochs = spec["training"]["epochs"]
    return Expectations(
        basis="other_networks",
        num_like_jobs=0,
        duration_seconds=Span(
            p50=round(besides + epochs * epoch.p50, 1), p90=round(besides + epochs * epoch.p90, 1)
        ),
        seconds_per_epoch=epoch,
        memory=memory,
    )


def _named(spec: Mapping[str, Any]) -> Backbone:
    """Of a training, which has one."""
    return cast("Backbone", backbone_of(spec))


def _wide(seconds: Sequence[float]) -> Span:
    middle = median(seconds)
    return Span(p50=round(middle, 1), p90=round(_SCALED_AT_MOST * middle, 1))


def _paces(rows: Sequence[Any]) -> list["Pace"]:
    found = (
        Pace.of(row.progress, row.num_train, float(row.seconds), seconds_per_epoch=row.seconds_per_epoch)
        for row in rows
    )
    return [pace for pace in found if pace is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a training was, and what it took besides."""

    samples_per_second: float
    """While it trained, without the validations between."""
    seconds_per_sample: float
    """Of a whole epoch, its validation included."""
    other_seconds: float

    @staticmethod
    def of(
        progress: Mapping[str, Any] | None,
        num_train: int | None,
        seconds: float,
        *,
        seconds_per_epoch: float | None = None,
    ) -> "Pace | None":
        """Of a training that took so many seconds in all; None: it did not report enough."""
        speed, epoch = (progress or {}).get("samples_per_second"), (progress or {}).get("epoch")
        if not speed or not epoch or not num_train:
            return None
        per_epoch = seconds_per_epoch or num_train / speed
        return Pace(
            samples_per_second=speed,
            seconds_per_sample=per_epoch / num_train,
            other_seconds=max(0.0, seconds - epoch * per_epoch),
        )

    def seconds_for(self, num_samples: int) -> float:
        """For so many samples, over all epochs, at this pace."""
        return num_samples * self.seconds_per_sample + self.other_seconds


def _newest_succeeded(job: Job) -> Select[*tuple[Any, ...]]:
    seconds = func.extract("epoch", Job.finished_at - Job.started_at).label("seconds")
    dataset = Job.spec["dataset"]
    is_its = and_(
        DatasetVersion.name == dataset["name"].as_string(),
        DatasetVersion.version == dataset["version"].as_integer(),
    )
    num_train = DatasetVersion.counts["train"].as_integer().label("num_train")
    last = and_(JobAttempt.job_id == Job.id, JobAttempt.number == Job.attempt)
    return (
        select(Job.spec, Job.progress, seconds, num_train, JobAttempt.seconds_per_epoch)
        .outerjoin(DatasetVersion, is_its)
        .outerjoin(JobAttempt, last)
        .where(Job.status == JobStatus.SUCCEEDED.value, Job.kind == job.kind)
        .order_by(Job.finished_at.desc())
        .limit(_LOOKED_AT)
    )
