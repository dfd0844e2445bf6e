"""PostgreSQL as a supervised child, with nothing of the wheel but its binaries."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heimdall_core.embedded.errors import EmbeddedError, ProcessFailed
from heimdall_core.embedded.home import Home, write_private
from heimdall_core.embedded.identity import PROC, any_process_in, wait_until
from heimdall_core.embedded.launcher import CANNOT_ENTER
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.program import ProgramSpec, launch_command
from heimdall_core.embedded.programs import postgres_programs

if TYPE_CHECKING:
    import psycopg  # at run time only where it is used: it takes half of the command line's start

USER = "heimdall"
DATABASES = ("heimdall", "mlflow")

#: PostgreSQL refuses to run as root; it then runs as this user, who exists everywhere.
UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresEngine:
    """A database cluster in the state directory, reached over loopback with a password."""

    home: Home
    port: int
    password: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings by which the services find it."""
        return {"HEIMDALL_DATABASE__URL": self.url("heimdall")}

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, password included."""
        return f"postgresql+psycopg://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def _user(self) -> str | None:
        return UNPRIVILEGED if os.geteuid() == 0 else None

    @property
    def _folder(self) -> Path:
        return self.home.root / "postgres"

    @property
    def _cluster(self) -> Path:
        return self._folder / "data"

    def prepare(self) -> ProgramSpec:
        """Makes the cluster at the first start, and says how to start it."""
        programs = postgres_programs()
        self._make_folder()
        if self._cluster.exists():
            self._check_version(programs)
            self._forget_dead_postmaster()
        else:
            self._create_cluster(programs)
        return ProgramSpec(
            name="postgres",
            argv=(str(programs / "postgres"), "-D", str(self._cluster), *self._settings()),
            cwd=self._folder,
            env={"LC_ALL": "C", "TZ": "UTC"},
            port=self.port,
            url=f"postgresql://{USER}@{LOOPBACK}:{self.port}/heimdall",
            user=self._user,
            is_ready=self._answers,
            ready_seconds=120,  # replaying the log after an unclean end
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
            stop_seconds=30,
        )

    def initialise(self) -> None:
        """Creates the databases that are absent."""
        from psycopg import sql

        with self._connect() as connection:
            present = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for database in DATABASES:
                if database not in present:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",  # its path may exceed 107 bytes
            "max_wal_size": "256MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _connect(self) -> "psycopg.Connection":
        import psycopg

        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user=USER,
            password=self.password,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    def _answers(self) -> bool:
        import psycopg

        try:
            self._connect().close()
        except psycopg.Error:
            return False
        return True

    def _make_folder(self) -> None:
        folder = self.home.folder("postgres")
        if self._user and folder.owner() != self._user:
            try:
                shutil.chown(folder, self._user)
            except OSError as error:
                raise self._unreachable(str(error)) from error

    def _check_version(self, programs: Path) -> None:
        made_by = (self._cluster / "PG_VERSION").read_text().strip()
        shown = subprocess.run(  # noqa: S603 - our own command line
            [programs / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        if shown.split()[2].split(".")[0] != made_by:
            raise EmbeddedError(
                f"the database in {self._cluster} was made by PostgreSQL {made_by}, this is {shown.strip()}",
                hint=f"install PostgreSQL {made_by}, or dump and restore into a new state directory",
            )

    def _forget_dead_postmaster(self) -> None:
        """Removes the pid file of a killed server once no process of it is left.

        PostgreSQL itself believes in it as long as anything has that pid: a zombie that nobody collects,
        or another program of the same user. The state directory's lock is ours, so no server is starting.
        """
        pid_file = self._cluster / "postmaster.pid"
        if not (PROC.exists() and pid_file.exists()):
            return
        if wait_until(lambda: not any_process_in(self._cluster), seconds=10):
            pid_file.unlink()

    def _create_cluster(self, programs: Path) -> None:
        """Runs ``initdb`` beside the final place and renames: a kill half-way leaves no half cluster."""
        unfinished = self._folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self._folder / "password"
        write_private(password_file, self.password)
        if self._user:
            shutil.chown(password_file, self._user)
        try:
            self._initdb(programs, unfinished, password_file)
        finally:
            password_file.unlink()
        unfinished.rename(self._cluster)

    def _initdb(self, programs: Path, cluster: Path, password_file: Path) -> None:
        command = launch_command(
            [
                *(programs / "initdb", "-D", cluster, "-U", USER),
                *("-A", "scram-sha-256", f"--pwfile={password_file}", "--data-checksums"),
                *("-E", "UTF8", "--locale=C"),
            ],
            user=self._user,
            cwd=self._folder,
            death_signal=signal.SIGTERM,
        )
        log = self.home.log("initdb")
        with log.open("w") as output:
            done = subprocess.run(  # noqa: S603 - our own command line
                command, stdout=output, stderr=subprocess.STDOUT, env={"PATH": os.defpath}, check=False
            )
        if done.returncode == CANNOT_ENTER:
            raise self._unreachable(log.read_text().strip())
        if done.returncode:
            raise ProcessFailed(f"initdb failed: {log.read_text().strip()[-1000:]}", hint=f"see {log}")

    def _unreachable(self, reason: str) -> EmbeddedError:
        return EmbeddedError(
            f"PostgreSQL refuses root, and user {UNPRIVILEGED!r} cannot use {self._folder} ({reason})",
            hint="set HEIMDALL_HOME (or --home) to a folder that every user may enter, such as "
            "/var/lib/heimdall, or run Heimdall as a user other than root",
        )
