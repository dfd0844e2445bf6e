"""Real engines for the tests that need them: PostgreSQL, Valkey and S3 from the wheels, started once."""

import os
import shutil
import tempfile
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
#: What all tests together take of the disk at most, and half as much again.
NEEDED_BYTES = 3e9


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """All tests together are not begun where the disk would be full before they end."""
    config = session.config
    if config.args_source is not config.ArgsSource.TESTPATHS or hasattr(config, "workerinput"):
        return
    folder = Path(config.option.basetemp or os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir())
    free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
    if free < NEEDED_BYTES:
        raise pytest.UsageError(
            f"{free / 1e9:.1f} GB are free in {folder}, and the tests need {NEEDED_BYTES / 1e9:.0f} GB: "
            "free some, or name another folder with TMPDIR"
        )


@pytest.fixture(scope="session")
def engines_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of engines that run as long as the tests; only their logs stay."""
    home = tmp_path_factory.mktemp("engines")
    with EmbeddedStack(home, services=False) as stack:
        yield stack.environment
    for name in ("postgres", "valkey", "s3"):
        shutil.rmtree(home / name, ignore_errors=True)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the tests of one module share, and leave to nobody."""
    folder = tmp_path_factory.mktemp("module")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


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
                "select tablename from pg_tables where schemaname = 'training' "
                "and tablename not in ('alembic_version', 'audit_log')"  # the latter lets nobody empty it
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
