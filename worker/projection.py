"""The MLflow projection: runs, registered models, versions and aliases made to agree with PostgreSQL.

Whatever an outbox entry says, MLflow is told the present state: telling it twice, or late, changes nothing.
An MLflow that is away delays it, no more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Connection, exists, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import aliased

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, Outbox
from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.registry.promotion import ALIAS_TOPIC
from heimdall_core.registry.publishing import MLFLOW_TOPIC
from heimdall_core.settings import Settings
from heimdall_core.storage import S3Store
from heimdall_core.tracking import connect, target_of
from heimdall_core.tracking.client import is_away
from heimdall_core.tracking.models import CHAMPION
from heimdall_core.tracking.redaction import redact
from worker.model_projection import project_aliases, project_version
from worker.run_projection import Projection, end_strays, project_run

__all__ = ["CHAMPION", "RUN_TOPIC", "deliver_due", "end_stray_runs"]

RUN_TOPIC = "mlflow.run"
"""A job has ended: its run must be complete, and ended too."""

_LEASE_SECONDS = 60.0
_LONGEST_DELIVERY_SECONDS = 300.0
"""A projector that has not gone on to the next entry by then is frozen: another may take its place."""
_RETRY_CEILING_SECONDS = 300.0
_AWAY_PAUSE = timedelta(seconds=30)
_ENDED_WITHIN = timedelta(days=7)
_RUNS_PER_LOOK = 200
_TRACKED_KINDS = (JobKind.TRAIN.value, JobKind.EXPORT.value, JobKind.EVALUATE.value)
_TERMINAL = [status.value for status in JobStatus if status.is_terminal]
_log = structlog.get_logger(__name__)


def deliver_due(database: Database, settings: Settings) -> int:
    """Delivers every due entry; returns how many succeeded: none if it is being done already."""
    with _turn(database) as turn:
        if not turn.is_ours():
            return 0
        _enter_ended_jobs(database)
        delivered = _deliver_all(database, settings, turn)
        if delivered and turn.is_ours():
            _end_strays(database, settings)
        return delivered


def end_stray_runs(database: Database, settings: Settings) -> None:
    """Ends runs of ended jobs that say they are running, though there may be nothing to deliver."""
    with _turn(database) as turn:
        if turn.is_ours():
            _end_strays(database, settings)


@dataclass(slots=True)
class _Turn:
    """The right to project, one's at a time: two would each make what the other has not made yet."""

    _connection: Connection
    _is_ours: bool

    def is_ours(self) -> bool:
        """Whether it still is; asking prolongs it."""
        if self._is_ours:
            try:
                self._connection.execute(text("select 1"))
            except DBAPIError:
                self._is_ours = False
                _log.warning("projection_turn_lost")
        return self._is_ours


@contextmanager
def _turn(database: Database) -> Iterator[_Turn]:
    """A lock that ends with its transaction, which PostgreSQL ends where the process is frozen.

    Between its statements the transaction holds no snapshot, so that it is in no other's way.
    """
    key = func.hashtextextended("mlflow projection", 0)
    with database.engine.connect() as connection:
        limit = f"set local idle_in_transaction_session_timeout = '{_LONGEST_DELIVERY_SECONDS:.0f}s'"
        connection.execute(text(limit))
        yield _Turn(connection, bool(connection.scalar(select(func.pg_try_advisory_xact_lock(key)))))


def _deliver_all(database: Database, settings: Settings, turn: _Turn) -> int:
    delivered = 0
    while turn.is_ours() and (entry := _take_due(database)) is not None:
        try:
            _deliver(database, settings, entry)
        except Exception as error:  # noqa: BLE001 - MLflow raises its own, requests' and SQLAlchemy's
            reason = redact(str(error))
            _log.warning("projection_failed", topic=entry.topic, key=entry.key, reason=reason)
            _postpone(database, entry, reason)
            if is_away(error) or isinstance(error, StorageUnavailable):
                _postpone_all(database)
            return delivered
        _mark_done(database, entry)
        delivered += 1
    return delivered


def _enter_ended_jobs(database: Database) -> None:
    """An entry for each job that was tried and has ended, however it did, unless its version's entry does."""
    told = aliased(Outbox)
    is_told = exists().where(told.key == Job.id, told.topic.in_((RUN_TOPIC, MLFLOW_TOPIC)))
    ended = (
        select(literal(RUN_TOPIC), Job.id, literal({}, Outbox.payload.type))
        .where(
            Job.status.in_(_TERMINAL),
            Job.finished_at > func.now() - literal(_ENDED_WITHIN),
            Job.kind.in_(_TRACKED_KINDS),
            Job.attempt > 0,
            ~is_told,
        )
        .limit(_RUNS_PER_LOOK)
    )
    with database.transaction() as session:
        statement = upsert(Outbox).from_select(["topic", "key", "payload"], ended)
        session.execute(statement.on_conflict_do_nothing(index_elements=["topic", "key"]))


def _take_due(database: Database) -> Outbox | None:
    due = (
        select(Outbox.id)
        .where(Outbox.topic.in_(_DELIVERIES), Outbox.done_at.is_(None), Outbox.not_before <= func.now())
        .order_by(Outbox.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    hidden_until = func.now() + literal(timedelta(seconds=_LEASE_SECONDS))
    with database.transaction() as session:
        return session.scalar(
            update(Outbox).where(Outbox.id == due).values(not_before=hidden_until).returning(Outbox)
        )


def _postpone(database: Database, entry: Outbox, reason: str) -> None:
    wait = timedelta(seconds=min(2.0 ** min(entry.failures + 1, 10), _RETRY_CEILING_SECONDS))
    values = {
        "failures": Outbox.failures + 1,
        "last_error": reason[:1000],
        "not_before": func.now() + literal(wait),
    }
    with database.transaction() as session:
        session.execute(update(Outbox).where(Outbox.id == entry.id).values(**values))


def _postpone_all(database: Database) -> None:
    """Where MLflow does not answer one entry, it need not be waited for with each of the others."""
    due = (Outbox.topic.in_(_DELIVERIES), Outbox.done_at.is_(None), Outbox.not_before <= func.now())
    with database.transaction() as session:
        session.execute(update(Outbox).where(*due).values(not_before=func.now() + literal(_AWAY_PAUSE)))


def _mark_done(database: Database, entry: Outbox) -> None:
    with database.transaction() as session:
        session.execute(
            update(Outbox).where(Outbox.id == entry.id).values(done_at=func.now(), last_error=None)
        )


def _end_strays(database: Database, settings: Settings) -> None:
    try:
        end_strays(_projection(database, settings))
    except Exception as error:  # noqa: BLE001 - as above; they are looked for again soon
        _log.warning("stray_runs_not_ended", reason=redact(str(error)))


def _deliver(database: Database, settings: Settings, entry: Outbox) -> None:
    _DELIVERIES[entry.topic](_projection(database, settings), entry)


def _projection(database: Database, settings: Settings) -> Projection:
    target = target_of(settings)
    assert target is not None
    client, experiment_id = connect(target)
    return Projection(
        client=client,
        experiment_id=experiment_id,
        database=database,
        store=S3Store(settings.storage),
        run_name_prefix=target.run_name_prefix,
    )


def _deliver_run(projection: Projection, entry: Outbox) -> None:
    project_run(projection, entry.key).send_artifacts()


def _deliver_version(projection: Projection, entry: Outbox) -> None:
    name, run = project_version(projection, entry.key)
    project_aliases(projection, name)
    run.send_artifacts()


def _deliver_aliases(projection: Projection, entry: Outbox) -> None:
    project_aliases(projection, entry.payload["name"])


_DELIVERIES: dict[str, Callable[[Projection, Outbox], None]] = {
    MLFLOW_TOPIC: _deliver_version,
    ALIAS_TOPIC: _deliver_aliases,
    RUN_TOPIC: _deliver_run,
}
