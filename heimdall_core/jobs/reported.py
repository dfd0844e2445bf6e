"""What attempts have reported: curves, step by step, and logs, piece by piece."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, LogChunk, MetricPoint


def list_metrics(
    session: Session,
    job_id: str,
    *,
    names: Sequence[str] | None = None,
    after_step: int | None = None,
    max_points: int | None = None,
) -> dict[str, Any]:
    """The job's curves: name -> points, by step.

    Args:
        session: the transaction.
        job_id: whose.
        names: only these curves; None: all.
        after_step: only points of later steps.
        max_points: of each curve points that are equally far apart, its last one included; None: all.
    """
    conditions = [MetricPoint.job_id == job_id]
    if names:
        conditions.append(MetricPoint.name.in_(names))
    if after_step is not None:
        conditions.append(MetricPoint.step > after_step)
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in session.execute(thinned_points(*conditions, max_points=max_points)):
        curves.setdefault(row.name, []).append(
            {"step": row.step, "epoch": row.epoch, "value": row.value, "attempt": row.attempt}
        )
    return curves


def thinned_points(
    *conditions: ColumnElement[bool], max_points: int | None = None
) -> Select[*tuple[Any, ...]]:
    """Points by curve, job and step; of each curve at most ``max_points``, equally far apart and its last."""
    columns = (
        MetricPoint.name,
        MetricPoint.job_id,
        MetricPoint.step,
        MetricPoint.epoch,
        MetricPoint.value,
        MetricPoint.attempt,
    )
    if max_points is None:
        order = (MetricPoint.name, MetricPoint.job_id, MetricPoint.step)
        return select(*columns).where(*conditions).order_by(*order)
    curve = (MetricPoint.job_id, MetricPoint.name)
    number = func.row_number().over(partition_by=curve, order_by=MetricPoint.step.desc()) - 1
    count = func.count().over(partition_by=curve)
    counted = select(*columns, number.label("number"), count.label("count")).where(*conditions)
    points = counted.subquery("numbered").c
    stride = (points.count + (max_points - 1)) // max_points
    wanted = (points.name, points.job_id, points.step, points.epoch, points.value, points.attempt)
    return (
        select(*wanted).where(points.number % stride == 0).order_by(points.name, points.job_id, points.step)
    )


def read_log(
    session: Session,
    job_id: str,
    *,
    attempt: int | None = None,
    after: int = 0,
    before: int | None = None,
    from_end: bool = False,
    limit: int = 1000,
) -> dict[str, Any]:
    """Log text of one attempt, and how to go on in both directions.

    Args:
        session: the transaction.
        job_id: whose.
        attempt: default: the newest.
        after: only pieces with higher numbers.
        before: only pieces with lower numbers; None: up to the newest.
        from_end: the last pieces of these in place of the first.
        limit: pieces.
    """
    if attempt is None:
        attempt = session.scalar(select(Job.attempt).where(Job.id == job_id)) or 0
    of_attempt = (LogChunk.job_id == job_id, LogChunk.attempt == attempt)
    wanted = [*of_attempt, LogChunk.number > after]
    if before is not None:
        wanted.append(LogChunk.number < before)
    order = LogChunk.number.desc() if from_end else LogChunk.number
    chunks = session.scalars(select(LogChunk).where(*wanted).order_by(order).limit(limit)).all()
    chunks = sorted(chunks, key=lambda chunk: chunk.number)
    first = session.scalar(select(func.min(LogChunk.number)).where(*of_attempt)) if chunks else None
    return {
        "attempt": attempt,
        "content": "".join(chunk.content for chunk in chunks),
        "next_after": chunks[-1].number if chunks else after,
        "next_before": chunks[0].number if chunks and chunks[0].number != first else None,
    }
