"""Whose jobs a list holds, which of them, and how much of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from api.schemas.jobs import JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSelection:
    """Of the jobs that match a list's other filters."""

    created_by: str | None
    ids: Sequence[str] | None
    view: JobView


async def read_selection(
    created_by: Annotated[str | None, Query(max_length=255, description="Whose.")] = None,
    ids: Annotated[
        list[str] | None, Query(alias="id", max_length=500, description="Only these, where they match.")
    ] = None,
    view: Annotated[
        JobView,
        Query(
            description="How much of each job. `brief`: `metrics` and `attempts` are empty, of `spec` only "
            "what names model and data, of `result` only `model`, `metrics` and `session_count`."
        ),
    ] = JobView.FULL,
) -> JobSelection:
    """From the query."""
    return JobSelection(created_by=created_by, ids=ids, view=view)


Selected = Annotated[JobSelection, Depends(read_selection)]
