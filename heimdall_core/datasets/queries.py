"""Reading dataset versions."""

from collections.abc import Sequence

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import NotFound


def list_datasets(session: Session, *, cursor: str | None, limit: int) -> Page[DatasetVersion]:
    """The newest version of each dataset, the latest made first."""
    newest = select(DatasetVersion.name, func.max(DatasetVersion.version)).group_by(DatasetVersion.name)
    key = tuple_(DatasetVersion.created_at, DatasetVersion.name)
    statement = select(DatasetVersion).where(tuple_(DatasetVersion.name, DatasetVersion.version).in_(newest))
    if cursor:
        statement = statement.where(key < decode_cursor(cursor))
    statement = statement.order_by(DatasetVersion.created_at.desc(), DatasetVersion.name.desc())
    rows = session.scalars(statement.limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=rows[:limit],
        next_cursor=encode_cursor(last.created_at, last.name) if last is not None else None,
    )


def list_dataset_versions(session: Session, name: str) -> Sequence[DatasetVersion]:
    """Every version, newest first.

    Raises:
        NotFound: no dataset has the name.
    """
    statement = select(DatasetVersion).where(DatasetVersion.name == name)
    versions = session.scalars(statement.order_by(DatasetVersion.version.desc())).all()
    if not versions:
        raise NotFound(f"no dataset {name!r}", code="dataset_not_found", hint="GET /v1/datasets lists them")
    return versions


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
