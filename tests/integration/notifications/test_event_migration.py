"""Histories that were there before the stream."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, make_url, text

from heimdall_core.database.migrate import alembic_config, upgrade
from heimdall_core.settings import Settings

BEFORE = """
insert into training.job (id, kind, owner, spec) values ('job_1', 'train', 'ann', '{"model": {"name": "north"}}');
insert into training.model (name) values ('north');
insert into training.job_event (id, job_id, name, created_at) overriding system value values
    (3, 'job_1', 'job.queued', '2026-01-01T00:00:01Z'),
    (7, 'job_1', 'job.started', '2026-01-01T00:00:05Z'),
    (8, 'job_1', 'clock.went_back', '2026-01-01T00:00:02Z');
insert into training.model_event (model, kind, version, actor, at) values
    ('north', 'model.registered', 1, 'ann', '2026-01-01T00:00:03Z');
select setval(pg_get_serial_sequence('training.job_event', 'id'), 8);
"""


@pytest.fixture
def former(settings: Settings) -> Iterator[Engine]:
    """A database without the stream."""
    url = make_url(settings.database.url.get_secret_value())
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("drop database if exists former"))
        connection.execute(text("create database former"))
    engine = create_engine(url.set(database="former"))
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0007")
        connection.exec_driver_sql(BEFORE)
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("drop database former"))
    admin.dispose()


def test_former_events_keep_their_order_and_no_saved_place_skips_one(former: Engine) -> None:
    upgrade(former)
    with former.begin() as connection:
        rows = connection.execute(text("select id, name, job_event_id from training.event order by id")).all()
        assert [row.name for row in rows] == [
            "job.queued",
            "model.registered",
            "job.started",
            "clock.went_back",
        ]
        assert all(row.id >= (row.job_event_id or 0) for row in rows)
        assert [row.id for row in rows] == sorted({row.id for row in rows})
        connection.exec_driver_sql("insert into training.job_event (job_id, name) values ('job_1', 'new')")
    with former.begin() as connection:
        newest = connection.execute(
            text("select id, name from training.event order by id desc limit 1")
        ).one()
        assert newest.name == "new"
        assert newest.id > rows[-1].id
        command.downgrade(alembic_config(connection), "0007")
    upgrade(former)
