"""Several jobs side by side: what was asked for differently, how they went, what came of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.database.arrays import any_texts
from heimdall_core.database.job_tables import Job, MetricPoint
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.jobs.queries import find_job, wire_time
from heimdall_core.jobs.reported import thinned_points

MAX_JOBS = 8
_MISSING = object()
_RESULT_MEMBERS = ("model", "metrics", "onnx", "mlflow_run_id")


def compare_jobs(
    session: Session, job_ids: Sequence[str], *, owner: str | None, max_points: int
) -> dict[str, Any]:
    """The jobs in the order in which they are named.

    Args:
        session: the transaction.
        job_ids: 2 to 8 different jobs.
        owner: whose jobs may be seen; None: everybody's.
        max_points: of each curve of each job.

    Raises:
        InvalidRequest: there are too few, too many, or one twice.
        NotFound: no such job, or another owner's.
    """
    _check(job_ids)
    jobs = [find_job(session, job_id, owner=owner) for job_id in job_ids]
    return {
        "jobs": [_outline(job) for job in jobs],
        "differences": list(differences([job.spec for job in jobs])),
        "curves": _curves(session, job_ids, max_points),
    }


def _check(job_ids: Sequence[str]) -> None:
    if not 2 <= len(job_ids) <= MAX_JOBS or len(set(job_ids)) < len(job_ids):  # noqa: PLR2004 - a comparison
        detail = f"name 2 to {MAX_JOBS} different jobs, separated by commas"
        raise InvalidRequest(
            "these jobs cannot be compared",
            problems=(FieldProblem(pointer="/ids", detail=detail),),
            hint=detail,
        )


def _outline(job: Job) -> dict[str, Any]:
    result = job.result or {}
    seconds = None
    if job.started_at is not None and job.finished_at is not None:
        seconds = round((job.finished_at - job.started_at).total_seconds(), 3)
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "tags": job.tags,
        "created_at": wire_time(job.created_at),
        "duration_seconds": seconds,
        "progress": job.progress,
        "metrics": job.metrics,
        "error": job.error,
        "result": {name: result[name] for name in _RESULT_MEMBERS if name in result} or None,
        "links": {"self": f"/v1/jobs/{job.id}"},
    }


def differences(specs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each member in which the specifications differ: its JSON pointer, and each value (null: none)."""
    flat = [dict(leaves(spec)) for spec in specs]
    for pointer in sorted({pointer for leaves in flat for pointer in leaves}):
        values = [leaves.get(pointer, _MISSING) for leaves in flat]
        if any(value != values[0] for value in values):
            yield {"pointer": pointer, "values": [None if value is _MISSING else value for value in values]}


def leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Scalars, lists and empty objects by their pointers."""
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            escaped = str(key).replace("~", "~0").replace("/", "~1")
            yield from leaves(member, f"{pointer}/{escaped}")
    else:
        yield pointer, value


def _curves(session: Session, job_ids: Sequence[str], max_points: int) -> dict[str, dict[str, Any]]:
    """Name -> job id -> points, by step."""
    wanted = MetricPoint.job_id == any_texts(job_ids)
    rows = session.execute(thinned_points(wanted, max_points=max_points)).all()
    curves: dict[str, dict[str, Any]] = {}
    for (name, job_id), points in groupby(rows, key=lambda row: (row.name, row.job_id)):
        curves.setdefault(name, {})[job_id] = [
            {"step": point.step, "epoch": point.epoch, "value": _plain(point.value)} for point in points
        ]
    return curves


def _plain(value: float) -> float | None:
    """JSON has no other numbers."""
    return value if math.isfinite(value) else None
