"""Trainings submitted at the same time, queued together: what one costs the database, all of them cost."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnClause,
    ColumnElement,
    Integer,
    Row,
    Select,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job, JobEvent
from heimdall_core.domain.errors import RequestError
from heimdall_core.domain.spec import DatasetRef, JobSpec, TrainJobSpec
from heimdall_core.jobs.resolution import resolved_dataset
from heimdall_core.jobs.submission import GIVEN, new_job, refuse_unfit

_MAX_VERSION = 2**31 - 1

DatasetRows = Mapping[DatasetRef, Row[int, str, str, str]]


def can_join(spec: JobSpec) -> bool:
    """Whether nothing but its dataset has to be looked up, and nothing is wrong that the spec itself shows.

    Everything else goes through ``submit``, which also says what is wrong.
    """
    if not isinstance(spec, TrainJobSpec) or spec.init_from is not None or spec.on_duplicate != "run":
        return False
    try:
        refuse_unfit(spec)
    except RequestError:
        return False
    return spec.dataset.version is None or spec.dataset.version <= _MAX_VERSION


def find_datasets(session: Session, wanted: Collection[DatasetRef]) -> DatasetRows:
    """The rows of those that exist, by one statement; of none that has no version the newest."""
    refs = list(wanted)
    parameters = {"names": [ref.name for ref in refs], "versions": [ref.version for ref in refs]}
    return {refs[row.place - 1]: row for row in session.execute(_DATASETS, parameters)}


def _datasets() -> Select[Any]:
    arrays = (bindparam("names", type_=ARRAY(Text)), bindparam("versions", type_=ARRAY(Integer)))
    columns: list[ColumnClause[Any]] = [column("name", Text), column("version", Integer)]
    given = func.unnest(*arrays).table_valued(*columns, with_ordinality="place").render_derived("given")
    rows = DatasetVersion
    newest = (
        select(rows.version, rows.manifest_uri, rows.manifest_sha256, rows.digest)
        .where(rows.name == given.c.name, or_(given.c.version.is_(None), rows.version == given.c.version))
        .order_by(rows.version.desc())
        .limit(1)
        .lateral("newest")
    )
    found = (newest.c.version, newest.c.manifest_uri, newest.c.manifest_sha256, newest.c.digest)
    return select(given.c.place, *found).select_from(given).join(newest, true())


_DATASETS = _datasets()


def joining_job(spec: TrainJobSpec, dataset: Row[int, str, str, str], *, owner: str) -> Job:
    """The row of a spec that can join, not yet in the database."""
    ref, inputs = resolved_dataset(spec.dataset, dataset)
    return new_job(replace(spec, dataset=ref), inputs, owner=owner)


def encode_job(job: Job) -> str:
    """What ``enqueue_all`` writes of a job, as JSON.

    Raises:
        ValueError: a number of it is none that JSON knows.
    """
    given = {name: getattr(job, name) for name in GIVEN}
    if job.not_before is not None:
        given["not_before"] = job.not_before.isoformat()
    return json.dumps(given, allow_nan=False, separators=(",", ":"))


def enqueue_all(session: Session, jobs: Sequence[Job], encoded: Sequence[str]) -> None:
    """Writes rows and first events in this order, by one statement; commit, then hint.

    Args:
        session: the transaction.
        jobs: as ``joining_job`` made them; they get what the server fills in and their documents need.
        encoded: each as ``encode_job`` gives it.
    """
    rows = {row.id: row for row in session.execute(_ENQUEUE, {"jobs": f"[{','.join(encoded)}]"})}
    for job in jobs:
        job.created_at, job.not_before = rows[job.id].created_at, rows[job.id].not_before
        job.attempt, job.metrics = 0, {}


_JOBS = cast("Table", Job.__table__)


def _enqueue() -> Select[Any]:
    given = _given()
    place: ColumnElement[Any] = func.row_number().over() * literal_column("interval '1 microsecond'")
    values = {name: given.c[name] for name in GIVEN} | {
        "not_before": func.coalesce(given.c.not_before, func.now()),
        "created_at": func.now() + place,
    }
    filled_in = (_JOBS.c.id, _JOBS.c.created_at, _JOBS.c.not_before)
    rows = insert(_JOBS).from_select(list(values), select(*values.values()))
    queued = rows.returning(*filled_in).cte("queued")
    first = select(queued.c.id, literal("job.queued")).order_by(queued.c.created_at)
    told = insert(JobEvent).from_select(["job_id", "name"], first).cte("told")
    return select(queued).add_cte(told)


def _given() -> TableValuedAlias:
    """The rows of a JSON array of jobs, in its order."""
    columns: list[ColumnClause[Any]] = [column(name, _JOBS.c[name].type) for name in GIVEN]
    array = sql_cast(bindparam("jobs", type_=Text), JSON)
    return func.json_to_recordset(array).table_valued(*columns).render_derived("given", with_types=True)


_ENQUEUE = _enqueue()
