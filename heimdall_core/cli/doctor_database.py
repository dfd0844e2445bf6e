"""Checks of PostgreSQL and Redis."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from heimdall_core.cli.doctor_causes import Address, Cause, address_of, cause_of, unreachable
from heimdall_core.cli.doctor_findings import TIMEOUT_SECONDS, Finding, Findings, broken, doubtful, fine
from heimdall_core.settings import DatabaseSettings, RedisSettings

if TYPE_CHECKING:
    import redis
    from sqlalchemy import Connection

OLDEST_POSTGRES: Final = 14
MOST_SKEW_SECONDS: Final = 5.0
#: A connection, then a few questions, each with its own time-out.
DATABASE_SECONDS: Final = 3 * TIMEOUT_SECONDS + 1.0

DATABASE_URL: Final = "HEIMDALL_DATABASE__URL"
REDIS_URL: Final = "HEIMDALL_REDIS__URL"
DATABASE_FORM: Final = "postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"
REDIS_FORM: Final = "redis://:PASSWORD@HOST:PORT/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    """One thing that PostgreSQL may mean by refusing."""

    message: str
    remedy: str
    sentences: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


_MEANINGS: Final = (
    _Meaning(
        message="lets no such user in from this machine (pg_hba.conf)",
        remedy=f"add a line for this host to pg_hba.conf, with or without SSL as {DATABASE_URL} asks",
        sentences=("no pg_hba.conf entry",),
    ),
    _Meaning(
        message="does not accept user or password",
        remedy=f"correct user and password in {DATABASE_URL} (special characters percent-encoded)",
        sentences=("authentication failed", "no password supplied"),
        states=("28P01", "28000"),
    ),
    _Meaning(
        message="has no such database",
        remedy=f"create it (createdb), or correct the name in {DATABASE_URL}",
        sentences=("does not exist",),
        states=("3D000",),
    ),
    _Meaning(
        message="knows the user, who lacks a permission",
        remedy="grant it the schema (`GRANT ALL ON SCHEMA training TO ...`) and its tables",
        sentences=("permission denied",),
        states=("42501",),
    ),
    _Meaning(
        message="has no connection left",
        remedy="raise max_connections, or lower HEIMDALL_DATABASE__POOL_SIZE",
        sentences=("too many",),
        states=("53300",),
    ),
    _Meaning(
        message="is starting, stopping or recovering",
        remedy="wait until it is up, then look again",
        sentences=("the database system is",),
        states=("57P03",),
    ),
    _Meaning(
        message="and this machine do not agree on TLS",
        remedy=f"set sslmode in {DATABASE_URL} as the server wants it",
        sentences=("SSL", "certificate"),
    ),
)


def check_database(settings: DatabaseSettings) -> Findings:
    """PostgreSQL: address, credential, version, clock and schema."""
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

    url = settings.url.get_secret_value()
    address = address_of(url, DATABASE_URL)
    if address is None or not url.startswith("postgresql+psycopg://"):
        return [broken("postgres", f"{DATABASE_URL} is no URL of PostgreSQL", f"its form is {DATABASE_FORM}")]
    if cause := unreachable(address):
        return [broken("postgres", cause.message, cause.remedy)]
    try:
        return _ask_database(settings, address)
    except DBAPIError as error:
        cause = _database_cause(error.orig, address)
        return [broken("postgres", cause.message, cause.remedy)]
    except (ArgumentError, NoSuchModuleError, ValueError):
        return [broken("postgres", f"{DATABASE_URL} is malformed", f"its form is {DATABASE_FORM}")]


def _ask_database(settings: DatabaseSettings, address: Address) -> Findings:
    from heimdall_core.database.engine import Database

    limits = {
        "connect_timeout_seconds": int(TIMEOUT_SECONDS),
        "statement_timeout_seconds": int(TIMEOUT_SECONDS),
    }
    database = Database(settings.model_copy(update=limits), application_name="heimdall-doctor")
    try:
        with database.engine.connect() as connection:
            return [*_version(connection, address), *_clock(connection), *_schema(connection)]
    finally:
        database.dispose()


def _version(connection: "Connection", address: Address) -> Findings:
    version, user, name = connection.exec_driver_sql(
        "select current_setting('server_version_num')::int / 10000, current_user, current_database()"
    ).one()
    told = f"PostgreSQL {version} at {address}, database {name} as {user}"
    if version < OLDEST_POSTGRES:
        return [broken("postgres", told, f"upgrade the server to PostgreSQL {OLDEST_POSTGRES} or newer")]
    return [fine("postgres", told)]


def _clock(connection: "Connection") -> Findings:
    before = datetime.now(UTC)
    server: datetime = connection.exec_driver_sql("select clock_timestamp()").scalar_one()
    local = before + (datetime.now(UTC) - before) / 2
    return [check_skew("clock", "PostgreSQL", (server - local).total_seconds(), MOST_SKEW_SECONDS)]


def check_skew(subject: str, server: str, skew_seconds: float, most_seconds: float) -> Finding:
    """How far a server's clock is ahead of ours."""
    told = f"{server}'s clock is {abs(skew_seconds):.1f} s {'ahead' if skew_seconds > 0 else 'behind'}"
    if abs(skew_seconds) > most_seconds:
        return doubtful(subject, told, "synchronise both clocks (chrony or systemd-timesyncd)")
    return fine(subject, told)


def _schema(connection: "Connection") -> Findings:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from heimdall_core.database.migrate import alembic_config

    scripts = ScriptDirectory.from_config(alembic_config())
    context = MigrationContext.configure(connection, opts={"version_table_schema": "training"})
    newest, present = scripts.get_current_head(), context.get_current_revision()
    if present == newest:
        return [fine("schema", f"at the newest revision, {newest}")]
    if present is None:
        return [broken("schema", "the database has no tables of ours", "run `heimdall migrate`")]
    if present not in {script.revision for script in scripts.walk_revisions()}:
        remedy = "upgrade this program to the version that migrated the database"
        return [broken("schema", f"at revision {present}, which this program does not know", remedy)]
    return [broken("schema", f"at revision {present}, the newest is {newest}", "run `heimdall migrate`")]


def _database_cause(error: BaseException | None, address: Address) -> Cause:
    """What PostgreSQL meant, by the state that it answers or by its sentence."""
    text, state = str(error), getattr(error, "sqlstate", None)
    for meant in _MEANINGS:
        if state in meant.states or any(part in text for part in meant.sentences):
            return Cause(f"{address} {meant.message}", meant.remedy)
    return cause_of(error or ConnectionError(), address)


def check_redis(settings: RedisSettings) -> Findings:
    """Redis: address, credential, and whether it keeps what it is given."""
    import redis

    url = settings.url.get_secret_value()
    address = address_of(url, REDIS_URL)
    if address is None or not url.startswith(("redis://", "rediss://")):
        return [broken("redis", f"{REDIS_URL} is no URL of Redis", f"its form is {REDIS_FORM}")]
    if cause := unreachable(address):
        return [broken("redis", cause.message, cause.remedy)]
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS
        ) as client:
            client.ping()
            return _keeping(client, address)
    except (redis.RedisError, OSError, ValueError) as error:
        cause = _redis_cause(error, address)
        return [broken("redis", cause.message, cause.remedy)]


def _redis_cause(error: Exception, address: Address) -> Cause:
    import redis

    if isinstance(error, redis.exceptions.AuthenticationError) or "NOAUTH" in str(error):
        return Cause(f"{address} does not accept the password", f"correct the password in {REDIS_URL}")
    if isinstance(error, redis.exceptions.NoPermissionError):
        return Cause(f"the user at {address} lacks a permission (ACL)", "grant it all keys and commands")
    if isinstance(error, redis.TimeoutError):
        return cause_of(TimeoutError(), address)
    if isinstance(error, redis.ConnectionError) and "closed" in str(error):
        return Cause(
            f"{address} hangs up: it is no Redis, or wants TLS", f"correct {REDIS_URL}; rediss:// speaks TLS"
        )
    return cause_of(error, address)


def _keeping(client: "redis.Redis", address: Address) -> Findings:
    """Whether messages can be lost while the server is well."""
    import redis

    try:
        facts: Any = {**client.info("server"), **client.info("memory"), **client.info("persistence")}
    except redis.RedisError:
        return [fine("redis", f"{address} answers; it does not say how it keeps its data")]
    told = f"{'Valkey' if 'valkey_version' in facts else 'Redis'} at {address}"
    version = facts.get("valkey_version") or facts.get("redis_version")
    found = [fine("redis", f"{told}, version {version}")]
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        remedy = "set `maxmemory-policy noeviction`"
        found.append(doubtful("redis", f"evicts keys when its memory is full ({policy})", remedy))
    if not facts.get("aof_enabled"):
        message = "keeps nothing over a restart: hints are lost, jobs then start with the next sweep"
        found.append(doubtful("redis", message, "set `appendonly yes`"))
    return found
