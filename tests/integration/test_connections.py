"""Connections that are lent again."""

import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

import heimdall_core.database.engine
from heimdall_core.database import Database

_END = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'lent-again'
"""


@pytest.fixture
def pool(settings):
    pool = Database(settings.database, application_name="lent-again")
    yield pool
    pool.dispose()


@pytest.fixture
def pings(pool, monkeypatch):
    asked, ping = [], pool.engine.dialect.do_ping
    monkeypatch.setattr(pool.engine.dialect, "do_ping", lambda each: asked.append(each) or ping(each))
    return asked


def end_all(database):
    with database.transaction() as session:
        ended = session.execute(text(_END)).scalars().all()
    assert ended == [True]


def let_pass(seconds, monkeypatch):
    later = time.monotonic() + seconds
    monkeypatch.setattr(heimdall_core.database.engine, "monotonic", lambda: later)


def test_a_connection_that_ended_while_it_was_idle_is_replaced_unnoticed(pool, database, monkeypatch):
    pool.ping()
    end_all(database)
    let_pass(1.0, monkeypatch)
    pool.ping()


def test_one_that_was_used_a_moment_ago_is_not_asked_whether_it_lives(pool, pings, monkeypatch):
    moment = time.monotonic()
    monkeypatch.setattr(heimdall_core.database.engine, "monotonic", lambda: moment)
    for _ in range(3):
        pool.ping()
    assert pings == []
    let_pass(1.0, monkeypatch)
    pool.ping()
    assert len(pings) == 1


def test_one_that_ended_a_moment_ago_fails_once(pool, database, monkeypatch):
    moment = time.monotonic()
    monkeypatch.setattr(heimdall_core.database.engine, "monotonic", lambda: moment)
    pool.ping()
    end_all(database)
    with pytest.raises(OperationalError):
        pool.ping()
    pool.ping()
