"""How many jobs are claimed before a queued one, counted exactly from one look at an index."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnClause,
    DateTime,
    Integer,
    Select,
    Text,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobStatus, Priority

_Mark = tuple[int, datetime, str]
"""A place in the order of priority and age: minus the rank, time of creation, id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How many queued jobs of each owner come before the jobs that are asked about."""

    indices: Mapping[_Mark, int]
    """Of the jobs that are asked about, and of the first and the last moment of each priority."""
    before: Mapping[bool, dict[str, list[int]]]
    """By line (whether it is that of light kinds) and owner: the number of jobs before each mark."""
    is_light: Callable[[str], bool]
    """Whether a kind waits in a line of its own, because light kinds have slots of their own."""

    @staticmethod
    def read(session: Session, jobs: Iterable[Job], is_light: Callable[[str], bool]) -> "Queue":
        """One pass over the index for all jobs together.

        With 10,000 queued it takes 2 ms; after a burst, until autovacuum has run, several times as long.
        """
        ends = (end(priority.rank) for priority in Priority for end in (_first, _last))
        marks = sorted({*ends, *map(_mark, jobs)})
        between: dict[bool, dict[str, list[int]]] = {True: {}, False: {}}
        for number, owner, kind, count in session.execute(_count_between(), _bounds(marks)):
            between[is_light(kind)].setdefault(owner, [0] * len(marks))[number] += count
        before = {
            line: {owner: list(accumulate(counts)) for owner, counts in owners.items()}
            for line, owners in between.items()
        }
        return Queue(indices={mark: n for n, mark in enumerate(marks)}, before=before, is_light=is_light)

    def position(self, job: Job, running: Mapping[str, int] | None) -> int:
        """1: the next. As the claims go if nothing that runs ends before them and nothing is added.

        Args:
            job: one of those that were read.
            running: how many jobs each owner runs: whoever runs fewer goes first. None: only priority and age
                count, as they do with a single slot, because nothing else runs when it claims.
        """
        return self._position(self.indices[_mark(job)], job, running)

    def position_of_newest(self, job: Job, running: Mapping[str, int] | None) -> int:
        """As ``position``, of a job that was not read: the newest of its priority."""
        return self._position(self.indices[_last(job.priority_rank)], job, running)

    def add_newest(self, job: Job) -> None:
        """Counts a job that was not read among those that are before the next one."""
        counts = self.before[self.is_light(job.kind)].setdefault(job.owner, [0] * len(self.indices))
        for index in range(self.indices[_last(job.priority_rank)], len(counts)):
            counts[index] += 1

    def _position(self, here: int, job: Job, running: Mapping[str, int] | None) -> int:
        owners = self.before[self.is_light(job.kind)]
        if running is None:
            return 1 + sum(before[here] for before in owners.values())
        first, last = self.indices[_first(job.priority_rank)], self.indices[_last(job.priority_rank)]
        own = owners.get(job.owner)
        turn = running.get(job.owner, 0) + (own[here] if own else 0)
        return 1 + sum(
            _num_claimed(before[first], before[here], before[last], turn - running.get(owner, 0))
            for owner, before in owners.items()
        )


def _num_claimed(higher: int, ahead: int, through: int, turn: int) -> int:
    """How many of an owner's jobs are claimed before a job of someone who then runs as many as this one.

    Args:
        higher: its jobs of higher priority: all of them.
        ahead: with those of the same priority that are older.
        through: with all of the same priority: in earlier turns younger ones go, too.
        turn: how many it has been given when it runs as many.
    """
    is_older = higher <= turn < ahead
    return min(max(turn, higher), through) + is_older


def _mark(job: Job) -> _Mark:
    return -job.priority_rank, job.created_at, job.id


def _first(rank: int) -> _Mark:
    return -rank, datetime.min.replace(tzinfo=UTC), ""


def _last(rank: int) -> _Mark:
    return -rank, datetime.max.replace(tzinfo=UTC), ""


def _bounds(marks: Sequence[_Mark]) -> dict[str, Sequence[object]]:
    """Columns of the pairs of neighbouring marks, by name; between two priorities lies nothing."""
    ranks, from_at, from_id = zip(*marks[:-1], strict=True)
    _, to_at, to_id = zip(*marks[1:], strict=True)
    values = ([-rank for rank in ranks], from_at, from_id, to_at, to_id)
    return {name: list(column) for name, column in zip(_BOUNDS, values, strict=True)}


_BOUNDS: dict[str, TypeEngine[Any]] = {
    "rank": Integer(),
    "from_at": DateTime(timezone=True),
    "from_id": Text(),
    "to_at": DateTime(timezone=True),
    "to_id": Text(),
}


@cache
def _count_between() -> Select[Any]:
    """Rows of (number of a pair from 1 on, owner, kind, queued jobs from its first mark up to its second).

    Parameters are the columns of the pairs.
    """
    arrays = (bindparam(name, type_=ARRAY(kind)) for name, kind in _BOUNDS.items())
    columns: list[ColumnClause[Any]] = [column(name, kind) for name, kind in _BOUNDS.items()]
    bounds = func.unnest(*arrays).table_valued(*columns, with_ordinality="number").render_derived("bounds")
    place = tuple_(Job.created_at, Job.id)
    counted = (
        select(Job.owner, Job.kind, func.count().label("num_jobs"))
        .where(
            # With a parameter, a plan that PostgreSQL keeps could not use the index of queued jobs.
            Job.status == literal_column(f"'{JobStatus.QUEUED.value}'"),
            Job.priority_rank == bounds.c.rank,
            place >= tuple_(bounds.c.from_at, bounds.c.from_id),
            place < tuple_(bounds.c.to_at, bounds.c.to_id),
        )
        .group_by(Job.owner, Job.kind)
        .lateral("counted")
    )
    found = (bounds.c.number, counted.c.owner, counted.c.kind, counted.c.num_jobs)
    return select(*found).select_from(bounds).join(counted, true())
