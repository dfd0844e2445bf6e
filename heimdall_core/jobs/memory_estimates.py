"""How much memory a training will take: as like trainings took, else by the size of its network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job, JobAttempt, Worker
from heimdall_core.domain.job import AttemptOutcome
from heimdall_core.domain.spec import STRICT
from heimdall_core.jobs.capacity import can_run
from heimdall_core.jobs.finishing import MICRO_BATCH_SIZE
from heimdall_core.jobs.spans import Span, is_like, span_of
from heimdall_core.jobs.training_costs import step_bytes

_LOOKED_AT = 200
"""Attempts among which those of like jobs are looked for, the newest."""
_OUT_OF_MEMORY = "out_of_memory"
_CPU: Final = "cpu"

#: A trainer before its first step: Python, torch, MLflow and ONNX; measured on Linux with torch for the CPU.
_LIBRARY_BYTES: Final = 0.7e9
#: By how much of the formula's figure trainings differed from it: 5 networks on a CPU, 1.07 to 1.5 times.
_LIKELY, _AT_MOST = 1.15, 1.6
#: What a GPU holds besides what torch has reserved: its context and the libraries' workspaces.
_CONTEXT_BYTES: Final = 0.6e9
#: With half the precision the activations take about half; weights and moments stay float32.
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """What a training will probably take, and what the workers have."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    basis: Literal["history", "formula"]
    """``history``: peaks of trainings with the same backbone, devices, precision, receivers and batch size.
    ``formula``: weights, gradients, moments and activations of the network, and a margin."""
    num_like_jobs: int
    """That the history is of; 0 for the formula."""
    host_bytes: Span | None
    """Of the host; null: a training on a GPU that nobody has done yet."""
    accelerator_bytes: Span | None
    """Of each GPU; null: it would train on a CPU."""
    largest_worker_bytes: int | None
    """Most memory of a GPU (of a host, where it would train on a CPU) of the workers that are alive and
    take such a job; null: there are none."""
    sufficed_bytes: int | None
    """Least memory of a worker on which one with such a batch or a larger one succeeded; null: unknown."""
    ran_out_of_bytes: int | None
    """Most memory of a worker on which one with such a batch or a smaller one ran out; null: none did."""

    @property
    def decisive(self) -> Span | None:
        """Of the memory that ``largest_worker_bytes`` is about."""
        return self.accelerator_bytes or self.host_bytes


def estimate_memory(
    session: Session, job: Job, *, num_receivers: int, alive_seconds: float
) -> MemoryEstimate:
    """The estimate of a training that is not queued yet.

    Args:
        session: the transaction.
        job: its row.
        num_receivers: of its dataset.
        alive_seconds: a worker that was silent for longer does not count.
    """
    fleet = _able_workers(session, job, alive_seconds)
    on_gpu = job.accelerator == "gpu" or (
        job.accelerator == "auto" and any(worker.accelerator != _CPU for worker in fleet)
    )
    rows = [row for row in session.execute(_newest_ends(job)).all() if is_like(row.spec, job.spec)]
    wanted = _shape(job.spec, {}, num_receivers)
    like = [row for row in rows if _is_peak(row, on_gpu) and _shape_of(row) == wanted]
    host, accelerator = _peaks(like, on_gpu) if like else _formula(job.spec, num_receivers, on_gpu)
    sufficed, ran_out = _evidence(rows, _batch(job.spec, {}))
    sizes = [w.memory_bytes for w in fleet if w.memory_bytes and (w.accelerator != _CPU) == on_gpu]
    return MemoryEstimate(
        basis="history" if like else "formula",
        num_like_jobs=len(like),
        host_bytes=host,
        accelerator_bytes=accelerator,
        largest_worker_bytes=max(sizes, default=None),
        sufficed_bytes=sufficed,
        ran_out_of_bytes=ran_out,
    )


def _able_workers(session: Session, job: Job, alive_seconds: float) -> list[Worker]:
    alive = Worker.last_seen_at > func.now() - timedelta(seconds=alive_seconds)
    fleet = session.scalars(select(Worker).where(alive, Worker.draining_at.is_(None)))
    return [worker for worker in fleet if can_run(worker, job)]


def _newest_ends(job: Job) -> Select[*tuple[Any, ...]]:
    """The newest attempts of the kind."""
    dataset = Job.spec["dataset"]
    return (
        select(
            Job.spec,
            Job.adjustments,
            JobAttempt.outcome,
            JobAttempt.error["code"].as_string().label("code"),
            JobAttempt.peak_host_bytes,
            JobAttempt.peak_accelerator_bytes,
            func.jsonb_array_length(DatasetVersion.receivers).label("num_receivers"),
            Worker.memory_bytes,
        )
        .join(JobAttempt, JobAttempt.job_id == Job.id)
        .outerjoin(Worker, Worker.name == JobAttempt.worker)
        .outerjoin(
            DatasetVersion,
            (DatasetVersion.name == dataset["name"].as_string())
            & (DatasetVersion.version == dataset["version"].as_integer()),
        )
        .where(Job.finished_at.is_not(None), Job.kind == job.kind)
        .order_by(Job.finished_at.desc())
        .limit(_LOOKED_AT)
    )


def _is_peak(row: Any, on_gpu: bool) -> bool:
    """Whether the attempt tells the peak of a whole training on such a device."""
    is_whole = row.outcome == AttemptOutcome.SUCCEEDED.value and row.peak_host_bytes is not None
    return is_whole and (row.peak_accelerator_bytes is not None) == on_gpu


def _shape_of(row: Any) -> tuple[object, ...]:
    return _shape(row.spec, row.adjustments, row.num_receivers)


def _shape(
    spec: Mapping[str, Any], adjustments: Mapping[str, Any], num_receivers: int | None
) -> tuple[object, ...]:
    """What, besides network and devices, decides about memory."""
    training = spec["training"]
    frozen = (spec.get("model") or {}).get("freeze_backbone", False)
    return (training["precision"], _batch(spec, adjustments), num_receivers, frozen)


def _batch(spec: Mapping[str, Any], adjustments: Mapping[str, Any]) -> int:
    return int(adjustments.get(MICRO_BATCH_SIZE) or spec["training"]["batch_size"])


def _peaks(like: Sequence[Any], on_gpu: bool) -> tuple[Span | None, Span | None]:
    host = span_of([row.peak_host_bytes for row in like])
    if not on_gpu:
        return host, None
    return host, span_of([row.peak_accelerator_bytes + _CONTEXT_BYTES for row in like])


def _formula(spec: Mapping[str, Any], num_receivers: int, on_gpu: bool) -> tuple[Span | None, Span | None]:
    backbone, batch = spec["model"]["backbone"], _batch(spec, {})
    at_most = step_bytes(backbone, batch, num_receivers)
    if not on_gpu:
        return _around(at_most, at_most, besides=_LIBRARY_BYTES), None
    is_whole = spec["training"]["precision"] == "fp32"
    static = step_bytes(backbone, 0, num_receivers)
    likely = at_most if is_whole else static + _HALF * (at_most - static)
    return None, _around(likely, at_most, besides=_CONTEXT_BYTES)


def _around(likely: float, at_most: float, *, besides: float) -> Span:
    return Span(p50=round(besides + _LIKELY * likely), p90=round(1.5 * besides + _AT_MOST * at_most))


def _evidence(rows: Sequence[Any], wanted: int) -> tuple[int | None, int | None]:
    """Least memory that sufficed, and most that did not."""
    known = [row for row in rows if row.memory_bytes is not None]
    sufficed = [
        row.memory_bytes
        for row in known
        if row.outcome == AttemptOutcome.SUCCEEDED.value and _batch(row.spec, {}) >= wanted
    ]
    ran_out = [
        row.memory_bytes for row in known if row.code == _OUT_OF_MEMORY and _batch(row.spec, {}) <= wanted
    ]
    return min(sufficed, default=None), max(ran_out, default=None)
