"""The migrations: complete, repeatable, and gentle with a platform that is already there."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from heimdall_core.database.engine import Database
from heimdall_core.database.migrate import alembic_config, pending_revision, upgrade
from heimdall_core.settings import Settings

PLATFORM = """
create schema heimdall;
create table heimdall.websdr_stations (
    id uuid primary key default gen_random_uuid(), name varchar(255) not null unique, url varchar(512) not null,
    latitude float not null, longitude float not null, rating int);
create table heimdall.known_sources (
    id uuid primary key default gen_random_uuid(), name varchar(255) not null, frequency_hz bigint not null,
    latitude float not null, longitude float not null, power_dbm float);
create table heimdall.recording_sessions (
    id uuid primary key default gen_random_uuid(),
    known_source_id uuid not null references heimdall.known_sources (id), session_name varchar(255) not null,
    session_start timestamptz not null, session_end timestamptz, duration_seconds float, status varchar(50),
    approval_status varchar(50) default 'pending', notes text, created_at timestamptz default now(),
    updated_at timestamptz default now());
create table heimdall.measurements (
    websdr_station_id uuid not null references heimdall.websdr_stations (id), timestamp timestamptz not null,
    id uuid default gen_random_uuid(), frequency_hz bigint not null, snr_db float, primary key (timestamp, id));
insert into heimdall.websdr_stations (name, url, latitude, longitude, rating)
    values ('Torino', 'http://sdr.example.org', 45.044, 7.672, 5);
"""


@pytest.fixture
def empty(settings: Settings) -> Iterator[Engine]:
    """A database with nothing in it."""
    url = make_url(settings.database.url.get_secret_value())
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("drop database if exists fresh"))
        connection.execute(text("create database fresh"))
    engine = create_engine(url.set(database="fresh"))
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("drop database fresh"))
    admin.dispose()


def test_the_migrations_make_exactly_the_declared_tables(database: Database) -> None:
    with database.engine.begin() as connection:
        command.check(alembic_config(connection))


def test_migrating_again_changes_nothing(empty: Engine) -> None:
    assert pending_revision(empty) is not None
    upgrade(empty)
    upgrade(empty)
    assert pending_revision(empty) is None


def test_a_platform_that_is_there_keeps_its_rows_and_columns(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text(PLATFORM))
    upgrade(empty)
    with empty.begin() as connection:
        row = connection.execute(text("select * from heimdall.websdr_stations")).mappings().one()
        assert (row["name"], row["url"], row["rating"]) == ("Torino", "http://sdr.example.org", 5)
        assert row["altitude_asl"] is None
        constraints = connection.scalars(
            text("select is_nullable from information_schema.columns where column_name = 'iq_sha256'")
        )
        assert constraints.one() == "YES"


def test_what_the_platform_forbids_stays_forbidden(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text(PLATFORM))
    upgrade(empty)
    insert = (
        "insert into heimdall.websdr_stations (name, url, latitude, longitude) values ('Torino', '', 0, 0)"
    )
    with pytest.raises(IntegrityError), empty.begin() as connection:
        connection.execute(text(insert))
