"""Reading dataset versions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, literal_column, select, tuple_
from sqlalchemy.orm import Session, defer
from sqlalchemy.orm.attributes import set_committed_value

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import NotFound


def list_datasets(session: Session, *, cursor: str | None, limit: int) -> Page[DatasetVersion]:
    """The newest version of each dataset, the latest made first; briefly, as ``list_dataset_versions``."""
    newest = select(DatasetVersion.name, func.max(DatasetVersion.version)).group_by(DatasetVersion.name)
    key = tuple_(DatasetVersion.created_at, DatasetVersion.name)
    statement = _briefly().where(tuple_(DatasetVersion.name, DatasetVersion.version).in_(newest))
    if cursor:
        statement = statement.where(key < decode_cursor(cursor))
    statement = statement.order_by(DatasetVersion.created_at.desc(), DatasetVersion.name.desc())
    rows = _read_briefly(session, statement.limit(limit + 1))
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=rows[:limit],
        next_cursor=encode_cursor(last.created_at, last.name) if last is not None else None,
    )


def list_dataset_versions(session: Session, name: str) -> Sequence[DatasetVersion]:
    """Every version, newest first; briefly: of each the statistics lack ``places`` and ``heard_together``.

    Raises:
        NotFound: no dataset has the name.
    """
    statement = _briefly().where(DatasetVersion.name == name)
    versions = _read_briefly(session, statement.order_by(DatasetVersion.version.desc()))
    if not versions:
        raise _not_found(name)
    return versions


def find_newest_version(session: Session, name: str) -> DatasetVersion:
    """The newest version of a dataset.

    Raises:
        NotFound: no dataset has the name.
    """
    statement = select(DatasetVersion).where(DatasetVersion.name == name)
    newest = session.scalars(statement.order_by(DatasetVersion.version.desc()).limit(1)).one_or_none()
    if newest is None:
        raise _not_found(name)
    return newest


def find_dataset_version(session: Session, name: str, version: int) -> DatasetVersion:
    """One version.

    Raises:
        NotFound: the dataset has no such version.
    """
    row = session.get(DatasetVersion, (name, version))
    if row is None:
        raise NotFound(
            f"dataset {name!r} has no version {version}",
            code="dataset_version_not_found",
            hint=f"GET /v1/datasets/{name}/versions lists them",
        )
    return row


def _briefly() -> Select[*tuple[Any, ...]]:
    """Without what is long: thousands of places in each version would make a list of tens of megabytes."""
    counts: Any = DatasetVersion.counts
    for path in ("{statistics,places}", "{statistics,heard_together}"):
        counts = counts.op("#-")(literal_column(f"'{path}'::text[]"))
    brief = counts.label("brief_counts")
    return select(DatasetVersion, brief).options(defer(DatasetVersion.counts))


def _read_briefly(session: Session, statement: Select[*tuple[Any, ...]]) -> list[DatasetVersion]:
    versions = []
    for row in session.execute(statement):
        set_committed_value(row[0], "counts", row.brief_counts)
        versions.append(row[0])
    return versions


def _not_found(name: str) -> NotFound:
    return NotFound(f"no dataset {name!r}", code="dataset_not_found", hint="GET /v1/datasets lists them")
