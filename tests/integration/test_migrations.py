"""The migrations: complete, repeatable, and gentle with a platform that is already there."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from heimdall_core.accounts.keys import authenticate
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


JOBS_AND_VERSIONS = """
insert into training.model (name, champion_version) values ('north', 1);
insert into training.job (id, kind, owner, status, finished_at, spec) values
    ('job_1', 'train', 'ann', 'succeeded', now(), '{"init_from": {"name": "south", "version": 4}}'),
    ('job_2', 'export', 'ann', 'succeeded', now(), '{"source": {"job_id": "job_1"}}'),
    ('job_3', 'export', 'ann', 'succeeded', now(), '{"source": {"model": {"name": "north", "version": 2}}}'),
    ('job_4', 'train', 'ann', 'succeeded', now(), '{"init_from": null}');
insert into training.model_version (name, version, job_id, dataset_name, dataset_version, dataset_digest,
    onnx_uri, onnx_sha256, onnx_num_bytes, metrics, facts, created_by)
select 'north', n, 'job_' || n, 'd', 1, 'x', 's3://b/k', 'x', 1, '{}',
    case n when 1 then '{"onnx_parity": {"mean_difference": 1e-7}}'::jsonb else '{"onnx_parity": null}' end, 'ann'
from generate_series(1, 4) n;
"""


def test_versions_that_are_there_get_their_lineage_and_their_verification(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
        connection.exec_driver_sql(JOBS_AND_VERSIONS)
    upgrade(empty)
    with empty.begin() as connection:
        rows = connection.execute(
            text(
                "select origin, parent_name, parent_version, verification from training.model_version "
                "order by version"
            )
        ).all()
        assert [tuple(row) for row in rows] == [
            ("train", "south", 4, {"passed": True, "mean_difference": 1e-7}),
            ("export", "north", 1, None),
            ("export", "north", 2, None),
            ("train", None, None, None),
        ]
        command.downgrade(alembic_config(connection), "0005")
    upgrade(empty)


FORMER_KEY = "hmd_" + "0123456789" * 4
KEYS = f"""
insert into training.api_key (id, owner, name, prefix, sha256, scopes) values
    ('key_1', 'ann', 'of a former version', '{FORMER_KEY[:10]}',
     encode(sha256('{FORMER_KEY}'), 'hex'), '{{jobs:read}}');
"""


def test_keys_that_are_there_stay_valid(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(alembic_config(connection), "0006")
        connection.exec_driver_sql(KEYS)
    upgrade(empty)
    with empty.begin() as connection:
        assert authenticate(connection, FORMER_KEY).owner == "ann"
        command.downgrade(alembic_config(connection), "0006")
    upgrade(empty)
