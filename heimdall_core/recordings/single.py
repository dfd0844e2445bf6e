"""Recordings that no collection and no sheet lists, and whose metadata state the source themselves."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from heimdall_core.recordings.files import DATA, META, FileSet, check_has_data
from heimdall_core.recordings.plan import Plan, RecordingPlan, SessionPlan, contradicted_by, title_of
from heimdall_core.recordings.recording_reading import Header, header_of
from heimdall_core.recordings.refusal import Refusal, RefusedFile
from heimdall_core.recordings.session import Source
from heimdall_core.recordings.statement import parse_statement


class _Single(NamedTuple):
    meta: str
    session: str | None
    """None: one of its own."""
    source: Source
    header: Header


def plan_singles(
    metas: Sequence[str],
    files: FileSet,
    *,
    no_source: Callable[[str], Refusal],
    unknown: Source | None = None,
) -> Iterator[Plan]:
    """The sessions of these ``.sigmf-meta`` files; each that makes none is refused.

    Those of one ``heimdall:session`` are one session, each of the others is one of its own.
    ``no_source`` says why a file that states no source is left out; with an ``unknown`` source it is
    not: all of these that name no session are then one session.
    """
    sessions: dict[tuple[str, str], list[_Single]] = {}
    for meta in metas:
        try:
            single = _read(meta, files, no_source, unknown)
        except Refusal as refusal:
            yield refusal.of(meta)
        else:
            own = ("unknown", "") if single.source is unknown else ("path", meta)
            key = own if single.session is None else ("session", single.session)
            sessions.setdefault(key, []).append(single)
    for singles in sessions.values():
        yield from _plan(singles)


def _read(meta: str, files: FileSet, no_source: Callable[[str], Refusal], unknown: Source | None) -> _Single:
    check_has_data(meta, files)
    statement = parse_statement(files[meta]())
    source = statement.source or unknown
    if source is None:
        raise no_source(meta)
    return _Single(
        meta=meta,
        session=statement.session,
        source=source,
        header=header_of(statement.facts, statement.format, statement.sha512),
    )


def _plan(singles: list[_Single]) -> Iterator[Plan]:
    if others := contradicted_by([single.source for single in singles]):
        yield from (_conflict(single, singles[i]) for single, i in zip(singles, others, strict=True))
        return
    first = singles[0]
    yield SessionPlan(
        file=first.meta,
        name=first.session or title_of(first.meta, META),
        source=first.source,
        recordings=tuple(
            RecordingPlan(name=s.meta, data=s.meta.removesuffix(META) + DATA, header=s.header)
            for s in singles
        ),
    )


def _conflict(single: _Single, other: _Single) -> RefusedFile:
    return Refusal(
        "session_conflict",
        f"session {single.session!r} has another heimdall:source in {other.meta}",
        hint="State the same source in all recordings of a session, or give each session a name of its own.",
    ).of(single.meta)
