"""A request looked at without being queued: what is wrong with it, what to mind, and what to expect."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, ModelVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import RequestError
from heimdall_core.domain.spec import STRICT, JobSpec, TrainJobSpec, spec_to_dict
from heimdall_core.jobs.deduplication import find_twin
from heimdall_core.jobs.expectations import DatasetSize, Expectations, expect
from heimdall_core.jobs.memory_estimates import MemoryEstimate
from heimdall_core.jobs.queue_facts import QueueFacts, QueuePolicy, WaitReason, queue_facts
from heimdall_core.jobs.resolution import resolve
from heimdall_core.jobs.submission import CHECKS, new_job

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that the caller should know before it submits."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    code: str
    detail: str
    pointer: str | None = None
    """JSON pointer into the body."""
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """The dataset version that would be read."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: str
    version: int
    digest: str
    sessions: Mapping[str, int]
    """Of each split."""
    receivers: Sequence[str]
    separation: Mapping[str, Any] | None
    """How far val and test lie from the nearest position that trains; null: it was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """The model version that the weights would come from, held against the dataset."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: str
    version: int
    receivers_new: Sequence[str]
    """Of the dataset, unknown to the weights."""
    receivers_gone: Sequence[str]
    """Known to the weights, not of the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinFacts:
    """A job that trains the same, or has trained it."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    job_id: str
    status: str
    model: Mapping[str, Any] | None
    """The version that it registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobValidation:
    """What a submission would come to."""

    problems: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()
    spec: Mapping[str, Any] | None = None
    """As it would be accepted; None: it would not."""
    dataset: DatasetFacts | None = None
    init_from: StartFacts | None = None
    duplicate_of: TwinFacts | None = None
    queue: QueueFacts | None = None
    """Where it would stand; None: it would not be queued."""
    expectations: Expectations | None = None


@dataclass(slots=True)
class _Findings:
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def warn(self, code: str, detail: str, pointer: str | None = None, hint: str | None = None) -> None:
        self.warnings.append(Finding(code=code, detail=detail, pointer=pointer, hint=hint))


def validate_job(
    session: Session, spec: JobSpec, *, owner: str, sees_all: bool, policy: QueuePolicy
) -> JobValidation:
    """What ``submit`` would make of the spec now; writes nothing.

    Args:
        session: the transaction.
        spec: what would be asked for.
        owner: whose job it would become.
        sees_all: whether it may refer to other owners' jobs and uploads too.
        policy: what decides about waiting.
    """
    found, visible = _Findings(), None if sees_all else owner
    for check in CHECKS:
        _collect(found, lambda check=check: check(spec))
    resolved = _collect(found, lambda: resolve(session, spec, owner=visible))
    if resolved is None:
        return JobValidation(problems=found.problems)
    accepted, inputs = resolved
    job = new_job(accepted, inputs, owner=owner)
    dataset = _find_dataset(session, accepted)
    start = _compare_start(session, accepted, dataset)
    twin = find_twin(session, job.content_key, owner=visible)
    queue = _queue_facts(session, job, policy)
    alive_seconds = policy.worker_alive_seconds
    expectations = expect(session, job, dataset=_size_of(dataset), alive_seconds=alive_seconds)
    _judge(found, accepted, dataset, start, twin)
    _judge_waiting(found, job, queue, expectations)
    is_fine = not found.problems
    return JobValidation(
        problems=found.problems,
        warnings=found.warnings,
        spec=spec_to_dict(accepted) if is_fine else None,
        dataset=None if dataset is None else _describe(dataset),
        init_from=start,
        duplicate_of=None if twin is None else _twin_facts(twin),
        queue=queue if is_fine else None,
        expectations=expectations,
    )


def _size_of(row: DatasetVersion | None) -> DatasetSize | None:
    num_train = None if row is None else row.counts.get("train")
    if row is None or num_train is None:
        return None
    return DatasetSize(num_train=num_train, num_receivers=len(row.receivers))


def _collect(found: _Findings, step: Any) -> Any:
    """The step's result; what it refuses becomes problems, and the result None."""
    try:
        return step()
    except RequestError as error:
        entries: list[tuple[str | None, str]] = [(p.pointer, p.detail) for p in error.problems]
        found.problems += [
            Finding(code=error.stable_code, detail=detail, pointer=pointer and f"#{pointer}", hint=error.hint)
            for pointer, detail in entries or [(None, error.message)]
        ]
        return None


def _find_dataset(session: Session, spec: JobSpec) -> DatasetVersion | None:
    wanted = getattr(spec, "dataset", None)
    return None if wanted is None else session.get(DatasetVersion, (wanted.name, wanted.version))


def _describe(row: DatasetVersion) -> DatasetFacts:
    statistics = row.counts.get("statistics") or {}
    return DatasetFacts(
        name=row.name,
        version=row.version,
        digest=row.digest,
        sessions={split: row.counts.get(split, 0) for split in _SPLITS},
        receivers=_receivers(row),
        separation=statistics.get("separation"),
    )


def _receivers(row: DatasetVersion | None) -> list[str]:
    return [] if row is None else [receiver["name"] for receiver in row.receivers]


def _compare_start(session: Session, spec: JobSpec, dataset: DatasetVersion | None) -> StartFacts | None:
    if not isinstance(spec, TrainJobSpec) or spec.init_from is None:
        return None
    version = session.get_one(ModelVersion, (spec.init_from.name, spec.init_from.version))
    former = session.get(DatasetVersion, (version.dataset_name, version.dataset_version))
    known, wanted = _receivers(former), _receivers(dataset)
    return StartFacts(
        name=version.name,
        version=version.version,
        receivers_new=[name for name in wanted if name not in known],
        receivers_gone=[name for name in known if name not in wanted],
    )


def _twin_facts(twin: Job) -> TwinFacts:
    return TwinFacts(job_id=twin.id, status=twin.status, model=(twin.result or {}).get("model"))


def _queue_facts(session: Session, job: Job, policy: QueuePolicy) -> QueueFacts:
    """As if it were queued at this moment."""
    now: datetime = session.execute(select(func.now())).scalar_one()
    job.created_at = now
    job.not_before = job.not_before or now
    return queue_facts(session, [job], policy)[job.id]


def _judge(
    found: _Findings,
    spec: JobSpec,
    dataset: DatasetVersion | None,
    start: StartFacts | None,
    twin: Job | None,
) -> None:
    if isinstance(spec, TrainJobSpec):
        _judge_twin(found, spec, twin)
        _judge_size(found, spec, dataset)
    if start is not None and (start.receivers_new or start.receivers_gone):
        _judge_start(found, start, _receivers(dataset))
    for split, shared in _leaks(dataset):
        detail = f"{shared} positions of the {split} split are in the train split too: its figures flatter"
        found.warn("positions_shared", detail, "#/dataset", "Freeze with split.strategy spatial_block.")


def _judge_twin(found: _Findings, spec: TrainJobSpec, twin: Job | None) -> None:
    if twin is None:
        return
    detail = f"job {twin.id}, {twin.status}, trains the same content, specification and code"
    if spec.on_duplicate == "reject":
        found.problems.append(Finding(code="duplicate_job", detail=detail, pointer="#/on_duplicate"))
    else:
        answered = "would be answered with it" if spec.on_duplicate == "return" else "would train it again"
        found.warn("duplicate", f"{detail}; this request {answered}", "#/on_duplicate")


def _judge_size(found: _Findings, spec: TrainJobSpec, dataset: DatasetVersion | None) -> None:
    num_train = 0 if dataset is None else dataset.counts.get("train", 0)
    if num_train and spec.training.batch_size > num_train:
        detail = f"a batch of {spec.training.batch_size} is more than the {num_train} training sessions"
        found.warn("batch_exceeds_split", detail, "#/training/batch_size")


def _judge_start(found: _Findings, start: StartFacts, receivers: Sequence[str]) -> None:
    if len(start.receivers_new) == len(receivers):
        detail = f"{start.name}/{start.version} knows none of the dataset's receivers: little is taken over"
        found.warn("no_receiver_in_common", detail, "#/init_from")
        return
    news, gone = ", ".join(start.receivers_new) or "none", ", ".join(start.receivers_gone) or "none"
    detail = f"of the dataset's receivers the weights do not know: {news}; they know others: {gone}"
    found.warn("receivers_differ", detail, "#/init_from")


def _leaks(dataset: DatasetVersion | None) -> Iterator[tuple[str, int]]:
    statistics = {} if dataset is None else dataset.counts.get("statistics") or {}
    for split, separation in (statistics.get("separation") or {}).items():
        if shared := separation.get("shared_positions"):
            yield split, shared


def _judge_waiting(found: _Findings, job: Job, queue: QueueFacts, expectations: Expectations) -> None:
    if queue.reason is WaitReason.NO_WORKER:
        detail = "no worker that is alive can run it: it would wait until one comes"
        found.warn("no_worker", detail, "#/resources", "GET /v1/workers lists those that there are.")
    limit, start = job.max_pending_seconds, queue.estimated_start_at
    if limit is not None and start is not None and start > job.created_at + timedelta(seconds=limit):
        found.warn("may_expire", "it would probably wait longer than this", "#/limits/max_pending_seconds")
    duration = expectations.duration_seconds
    if job.max_runtime_seconds and duration and duration.p50 > job.max_runtime_seconds:
        detail = f"like jobs would take {duration.p50:.0f} s for all epochs"
        found.warn("may_exceed_runtime", detail, "#/limits/max_runtime_seconds")
    if expectations.memory is not None:
        _judge_memory(found, expectations.memory)


def _judge_memory(found: _Findings, memory: MemoryEstimate) -> None:
    pointer, remedy = (
        "#/training/batch_size",
        "Lower it, and raise training.accumulate_grad_batches to match.",
    )
    if memory.ran_out_of_bytes is not None:
        gigabytes = memory.ran_out_of_bytes / 1e9
        detail = f"a like job with such a batch ran out of memory on a worker with {gigabytes:.1f} GB"
        found.warn("may_run_out_of_memory", detail, pointer)
    needed, largest = memory.decisive, memory.largest_worker_bytes
    if needed is None or largest is None or needed.p90 <= largest:
        return
    what = "GPU" if memory.accelerator_bytes else "host"
    basis = "by like trainings" if memory.basis == "history" else "by its size"
    detail = (
        f"{basis} it takes about {needed.p50 / 1e9:.1f} GB, up to {needed.p90 / 1e9:.1f} GB; the largest "
        f"{what} of a worker has {largest / 1e9:.1f} GB"
    )
    code = "memory_exceeds_workers" if needed.p50 > largest else "memory_may_exceed_workers"
    found.warn(code, detail, pointer, remedy)
