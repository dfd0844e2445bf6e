"""Real engines for the tests that need them: PostgreSQL, Valkey and S3 from the wheels, started once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from heimdall_core.database.engine import Database
from heimdall_core.database.migrate import upgrade
from heimdall_core.embedded.stack import EmbeddedStack
from heimdall_core.settings import Settings
from heimdall_core.storage import S3Store

# A spinning OpenMP pool takes the cores from the processes beside it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

PLATFORM_TABLES = ("measurements", "recording_sessions", "known_sources", "websdr_stations")


@pytest.fixture(scope="session")
def engines_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of engines that run as long as the tests."""
    with EmbeddedStack(tmp_path_factory.mktemp("engines"), services=False) as stack:
        yield stack.environment


@pytest.fixture(scope="session")
def settings(engines_environment: dict[str, str]) -> Settings:
    """Settings of the running engines, untouched by the machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("HEIMDALL_")]:
            patch.delenv(name)
        for name, value in engines_environment.items():
            patch.setenv(name, value)
        return Settings(_env_file=None)


@pytest.fixture(scope="session")
def migrated_database(settings: Settings) -> Iterator[Database]:
    """The database at the newest revision."""
    database = Database(settings.database, application_name="tests")
    upgrade(database.engine)
    yield database
    database.dispose()


@pytest.fixture
def database(migrated_database: Database) -> Database:
    """An empty database that several connections may use."""
    with migrated_database.engine.begin() as connection:
        tables = connection.scalars(
            text(
                "select tablename from pg_tables where schemaname = 'training' and tablename <> 'alembic_version'"
            )
        ).all()
        names = [f"training.{t}" for t in tables] + [f"heimdall.{t}" for t in PLATFORM_TABLES]
        connection.execute(text(f"truncate {', '.join(names)} restart identity cascade"))
    return migrated_database


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A transaction that is rolled back."""
    with database.engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
        transaction.rollback()


@pytest.fixture(scope="session")
def store(settings: Settings) -> S3Store:
    """The running object store."""
    return S3Store(settings.storage)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the person who runs it."""
    for name in [n for n in os.environ if n.startswith("HEIMDALL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEIMDALL_HOME", str(tmp_path / "heimdall-home"))
