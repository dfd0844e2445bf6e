"""The names that a query gives must exist: a misspelt one would silently restrict."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.arrays import any_texts, any_uuids
from heimdall_core.database.job_tables import Job
from heimdall_core.database.platform_tables import KnownSource, RecordingSession, Station
from heimdall_core.datasets.definition import SessionQuery
from heimdall_core.domain.errors import FieldProblem, InvalidRequest

_MAX_PROBLEMS = 100
_MAX_NAMES_SHOWN = 20


def check_names(session: Session, query: SessionQuery) -> None:
    """Raises InvalidRequest naming each receiver, source, session or import that does not exist."""
    problems = tuple(islice(_unknown(session, query), _MAX_PROBLEMS))
    if problems:
        raise InvalidRequest(
            f"the query names what does not exist: {problems[0].detail}",
            problems=problems,
            code="unknown_name",
        )


def _unknown(session: Session, query: SessionQuery) -> Iterator[FieldProblem]:
    if query.receivers is not None:
        known = session.scalars(select(Station.name).order_by(Station.name)).all()
        yield from _absent(
            "receivers", query.receivers, known, f"no such receiver; use some of: {_some(known)}"
        )
    if query.sources is not None:
        yield from _unknown_sources(session, query.sources)
    if query.session_ids is not None:
        sessions = select(RecordingSession.id).where(RecordingSession.id == any_uuids(query.session_ids))
        known_ids = session.scalars(sessions).all()
        yield from _absent("session_ids", query.session_ids, known_ids, "no such recording session")
    if query.import_job_ids is not None:
        imports = select(Job.id).where(Job.kind == "import", Job.id == any_texts(query.import_job_ids))
        yield from _absent(
            "import_job_ids", query.import_job_ids, session.scalars(imports).all(), "no such import job"
        )


def _unknown_sources(session: Session, names: Sequence[str]) -> Iterator[FieldProblem]:
    every = select(KnownSource.name).distinct().order_by(KnownSource.name)
    known = session.scalars(every.where(KnownSource.name == any_texts(names))).all()
    if not set(names) <= set(known):
        some = session.scalars(every.limit(_MAX_NAMES_SHOWN + 1)).all()
        yield from _absent("sources", names, known, f"no such known source; use some of: {_some(some)}")


def _absent(
    member: str, given: Sequence[Hashable], known: Iterable[Hashable], remedy: str
) -> Iterator[FieldProblem]:
    found = set(known)
    for index, value in enumerate(given):
        if value not in found:
            yield FieldProblem(pointer=f"/query/{member}/{index}", detail=f"{str(value)!r}: {remedy}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES_SHOWN]) or "none, the catalogue is empty"
    return f"{shown}, ..." if len(names) > _MAX_NAMES_SHOWN else shown
