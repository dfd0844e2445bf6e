"""Where a model version was measured: by its own job, and by evaluate jobs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.registry.ancestry import FormerDataset, former_datasets

SPLIT = "test"
"""The split that versions are compared on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A version's metrics on the test split of a dataset version, and the job that found them."""

    name: str
    version: int
    job_id: str
    dataset_name: str
    dataset_version: int
    dataset_digest: str
    metrics: Mapping[str, Any]
    num_sessions: int | None
    """Of the split that were measured; None: not known."""
    is_whole: bool
    """Whether it was measured on every session of the split, and on none that it had seen before."""
    former: tuple[FormerDataset, ...] = ()
    """Of warm starts: what else its weights were trained on; the job that measured knew nothing of it."""
    error_factor: float = 1.0
    """What the precision of the served file makes of the measured median error, as was verified."""
    nll_change: float = 0.0
    """What it adds to the measured NLL."""


def find_measurements(
    session: Session, row: ModelVersion, fresh: Sequence[Measurement] = ()
) -> list[Measurement]:
    """That of the version's own job, then those of evaluate jobs, the newest first.

    Args:
        session: the transaction.
        row: the version.
        fresh: of evaluate jobs that succeed in this transaction, of any version.
    """
    new = [one for one in fresh if (one.name, one.version) == (row.name, row.version)]
    found = [
        _of_own_job(row),
        *new,
        *(evaluated(job, job.result or {}) for job in _evaluations(session, row)),
    ]
    former = former_datasets(session, row)
    return [_knowing(one, row, former) for one in found]


def find_shared(
    session: Session, first: ModelVersion, second: ModelVersion, fresh: Sequence[Measurement] = ()
) -> Iterator[tuple[Measurement, Measurement]]:
    """Pairs of measurements of two versions on the same dataset content.

    Whole ones come first, then those on the dataset of the version that was registered last.
    """
    theirs = find_measurements(session, second, fresh)
    pairs = [
        (one, other)
        for one in find_measurements(session, first, fresh)
        for other in theirs
        if one.dataset_digest == other.dataset_digest
    ]
    newest = max((first, second), key=lambda row: row.version).dataset_digest
    yield from sorted(
        pairs,
        key=lambda pair: (
            not (pair[0].is_whole and pair[1].is_whole),
            pair[0].dataset_digest != newest,
        ),
    )


def evaluation_of(row: ModelVersion, on: ModelVersion) -> dict[str, Any]:
    """The body of an evaluate job that measures a version on the dataset version of another."""
    return {
        "kind": "evaluate",
        "model": {"name": row.name, "version": row.version},
        "dataset": {"name": on.dataset_name, "version": on.dataset_version},
        "split": SPLIT,
    }


def evaluated(job: Job, result: Mapping[str, Any]) -> Measurement:
    """What an evaluate job has measured."""
    model, dataset = job.spec["model"], job.spec["dataset"]
    report = result.get("report") or {}
    return Measurement(
        name=model["name"],
        version=model["version"],
        job_id=job.id,
        dataset_name=dataset["name"],
        dataset_version=dataset["version"],
        dataset_digest=job.inputs["dataset_digest"],
        metrics=result.get("metrics") or {},
        num_sessions=report.get("num_sessions"),
        is_whole=result.get("sessions_left_out") == 0 and result.get("sessions_trained_on") == 0,
    )


def num_test_sessions(row: ModelVersion) -> int | None:
    """Of the version's own dataset version, as its job stated."""
    dataset = row.facts.get("dataset")
    counts = dataset.get("num_sessions") if isinstance(dataset, dict) else None
    number = counts.get(SPLIT) if isinstance(counts, dict) else None
    return number if isinstance(number, int) else None


def _knowing(found: Measurement, row: ModelVersion, former: Sequence[FormerDataset]) -> Measurement:
    """The measurement with what its job did not know: the training that came before a warm start.

    The split of the measured dataset version, and that of the version's own, were minded.
    """
    minded = {found.dataset_digest, row.dataset_digest}
    other = tuple(dataset for dataset in former if dataset.digest not in minded)
    return replace(found, former=other, is_whole=found.is_whole and not other)


def _of_own_job(row: ModelVersion) -> Measurement:
    """That of the network; what is served of it is known by its verification alone."""
    stated = row.verification or {}
    return Measurement(
        name=row.name,
        version=row.version,
        job_id=row.job_id,
        dataset_name=row.dataset_name,
        dataset_version=row.dataset_version,
        dataset_digest=row.dataset_digest,
        metrics=row.metrics,
        num_sessions=num_test_sessions(row),
        is_whole=True,
        error_factor=1.0 + (stated.get("median_error_change") or 0.0),
        nll_change=stated.get("nll_change") or 0.0,
    )


def _evaluations(session: Session, row: ModelVersion) -> Iterator[Job]:
    statement = select(Job).where(
        Job.kind == "evaluate",
        Job.status == "succeeded",
        Job.spec["model"]["name"].astext == row.name,
        Job.spec["model"]["version"].as_integer() == row.version,
        Job.spec["split"].astext == SPLIT,
    )
    yield from session.scalars(statement.order_by(Job.finished_at.desc(), Job.id))
