"""The embedded engines: real programs from the wheels, started, killed, recovered, stopped."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
import redis

from heimdall_core.embedded import EmbeddedError, EmbeddedStack
from heimdall_core.embedded.errors import AlreadyRunning, PortTaken
from heimdall_core.embedded.home import Home
from heimdall_core.embedded.identity import MARKER, ProcessIdentity, identify, wait_until

HOLD_UNTIL_KILLED = """
import sys
from pathlib import Path
from heimdall_core.embedded import EmbeddedStack
with EmbeddedStack(Path(sys.argv[1]), services=False) as stack:
    print("ready", flush=True)
    stack.supervise(lambda: False)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def held(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A stack held by another process, as ``heimdall up`` holds it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_UNTIL_KILLED, str(home)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    yield holder
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert wait_until(lambda: not any(p.is_alive() for p in recorded(home)), seconds=20)


def recorded(home: Path) -> list[ProcessIdentity]:
    return [p.identity for p in Home(home).read_state().processes if p.identity]


def identity_of(home: Path, name: str) -> ProcessIdentity:
    processes = Home(home).read_state().processes
    return next(p.identity for p in processes if p.name == name and p.identity)


def sql_url(environment: dict[str, str]) -> str:
    return environment["HEIMDALL_DATABASE__URL"].replace("+psycopg", "")


def s3_of(environment: dict[str, str]):
    return boto3.client(
        "s3",
        endpoint_url=environment["HEIMDALL_STORAGE__ENDPOINT_URL"],
        aws_access_key_id=environment["HEIMDALL_STORAGE__ACCESS_KEY_ID"],
        aws_secret_access_key=environment["HEIMDALL_STORAGE__SECRET_ACCESS_KEY"],
        region_name=environment["HEIMDALL_STORAGE__REGION"],
    )


def write_everywhere(environment: dict[str, str]) -> None:
    with psycopg.connect(sql_url(environment)) as connection:
        connection.execute("create table kept (word text)")
        connection.execute("insert into kept values ('here')")
    with redis.Redis.from_url(environment["HEIMDALL_REDIS__URL"]) as broker:
        broker.set("kept", "here")
    s3_of(environment).put_object(Bucket="heimdall-models", Key="a/b", Body=b"here")


def read_everywhere(environment: dict[str, str]) -> tuple[str, ...]:
    with psycopg.connect(sql_url(environment)) as connection:
        row = connection.execute("select word from kept").fetchone()
    with redis.Redis.from_url(environment["HEIMDALL_REDIS__URL"]) as broker:
        word = broker.get("kept")
    body = s3_of(environment).get_object(Bucket="heimdall-models", Key="a/b")["Body"].read()
    assert row is not None
    assert isinstance(word, bytes)
    return row[0], word.decode(), body.decode()


def settings_in(environment: dict[str, str]) -> set[str]:
    return set(environment)


def test_engines_answer_on_loopback_with_passwords_and_leave_nothing_running(home: Path) -> None:
    with EmbeddedStack(home, services=False) as stack:
        environment = stack.environment
        write_everywhere(environment)
        assert read_everywhere(environment) == ("here", "here", "here")
        with psycopg.connect(sql_url(environment)) as connection:
            databases = {row[0] for row in connection.execute("select datname from pg_database")}
            shown = {
                name: connection.execute(f"show {name}").fetchone()[0]
                for name in ("listen_addresses", "fsync", "unix_socket_directories", "data_checksums")
            }
        running = recorded(home)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(sql_url(environment).replace(":" + password_of(environment), ":wrong"))
        with (
            redis.Redis(port=port_of(environment["HEIMDALL_REDIS__URL"])) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
    assert {"heimdall", "mlflow"} <= databases
    assert shown == {
        "listen_addresses": "127.0.0.1",
        "fsync": "on",
        "unix_socket_directories": "",
        "data_checksums": "on",
    }
    assert len(running) == 3
    assert not any(process.is_alive() for process in running)
    assert Home(home).read_state().phase == "stopped"


def password_of(environment: dict[str, str]) -> str:
    return environment["HEIMDALL_DATABASE__URL"].split(":")[2].split("@")[0]


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])


def test_data_and_ports_survive_a_restart(home: Path) -> None:
    with EmbeddedStack(home, services=False) as stack:
        write_everywhere(stack.environment)
        first = stack.environment
    with EmbeddedStack(home, services=False) as stack:
        assert stack.environment == first
        assert read_everywhere(stack.environment) == ("here", "here", "here")


def test_secrets_are_for_their_owner_alone_and_on_no_command_line(home: Path) -> None:
    with EmbeddedStack(home, services=False):
        secrets = Home(home).secrets()
        command_lines = [Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in recorded(home)]
        for secret in (secrets.postgres, secrets.valkey, secrets.s3_secret_key):
            assert not any(secret.encode() in line for line in command_lines)
    for path in (home / "secrets.json", home / "state.json", home / "run" / "valkey.conf"):
        assert path.stat().st_mode & 0o077 == 0
    assert not list(home.rglob("password"))


def test_kill_9_of_the_supervisor_takes_the_engines_along_and_the_next_start_recovers(
    home: Path, held: subprocess.Popen[str]
) -> None:
    children = recorded(home)
    assert len(children) == 3
    held.kill()
    held.wait()
    assert wait_until(lambda: not any(child.is_alive() for child in children), seconds=20)
    with EmbeddedStack(home, services=False) as stack:
        write_everywhere(stack.environment)


def test_kill_9_of_everything_loses_no_committed_row(home: Path, held: subprocess.Popen[str]) -> None:
    port = next(p.port for p in Home(home).read_state().processes if p.name == "postgres")
    password = Home(home).secrets().postgres
    with psycopg.connect(f"postgresql://heimdall:{password}@127.0.0.1:{port}/heimdall") as connection:
        connection.execute("create table kept (word text)")
        connection.execute("insert into kept values ('here')")
    everything = [*recorded(home), identify(held.pid)]
    for process in everything:
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
    held.wait()
    with (
        EmbeddedStack(home, services=False) as stack,
        psycopg.connect(sql_url(stack.environment)) as connection,
    ):
        assert connection.execute("select word from kept").fetchone() == ("here",)


def test_a_child_that_dies_is_restarted(home: Path, held: subprocess.Popen[str]) -> None:
    before = identity_of(home, "valkey")
    os.kill(before.pid, signal.SIGKILL)

    def is_back() -> bool:
        state = next(p for p in Home(home).read_state().processes if p.name == "valkey")
        return state.state == "ready" and state.restarts == 1

    assert wait_until(is_back, seconds=20)
    assert identity_of(home, "valkey").pid != before.pid
    assert held.poll() is None


def test_children_are_in_sessions_of_their_own(home: Path, held: subprocess.Popen[str]) -> None:
    for child in recorded(home):
        assert os.getsid(child.pid) == child.pid
        assert os.getsid(child.pid) != os.getsid(held.pid)


def test_a_second_stack_in_the_same_home_is_refused(home: Path, held: subprocess.Popen[str]) -> None:
    with pytest.raises(AlreadyRunning, match=f"pid {held.pid}"):
        EmbeddedStack(home, services=False).__enter__()
    assert all(child.is_alive() for child in recorded(home))


def test_a_taken_port_is_told_with_its_option(home: Path) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        stack = EmbeddedStack(home, services=False, ports={"valkey": port})
        with pytest.raises(PortTaken, match=f"port {port} for valkey") as caught:
            stack.__enter__()
    assert caught.value.hint is not None
    assert "--valkey-port" in caught.value.hint


def test_a_remembered_port_that_is_taken_is_replaced(home: Path) -> None:
    with EmbeddedStack(home, services=False) as stack:
        write_everywhere(stack.environment)
        port = Home(home).read_state().ports["s3"]
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", port))
        occupant.listen()
        with EmbeddedStack(home, services=False) as stack:
            assert Home(home).read_state().ports["s3"] != port
            assert read_everywhere(stack.environment) == ("here", "here", "here")


def test_an_engine_that_does_not_start_is_named_with_the_end_of_its_log(home: Path) -> None:
    with EmbeddedStack(home, services=False):
        pass
    (home / "postgres" / "data" / "global" / "pg_control").write_bytes(b"broken")
    with pytest.raises(EmbeddedError, match=r"(?s)postgres ended with exit status .*pg_control") as caught:
        EmbeddedStack(home, services=False).__enter__()
    assert str(home / "logs" / "postgres.log") in str(caught.value.hint)
    assert not any(process.is_alive() for process in recorded(home))


def test_a_cluster_made_by_another_version_is_refused_in_words(home: Path) -> None:
    with EmbeddedStack(home, services=False):
        pass
    (home / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 9, this is postgres \(PostgreSQL\)"):
        EmbeddedStack(home, services=False).__enter__()


def test_half_a_cluster_left_by_a_kill_is_made_again(home: Path) -> None:
    unfinished = Home(home).folder("postgres") / "unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("16\n")
    with EmbeddedStack(home, services=False) as stack:
        write_everywhere(stack.environment)
    assert not unfinished.exists()


def test_an_engine_that_runs_elsewhere_is_not_started(home: Path) -> None:
    elsewhere = {"HEIMDALL_DATABASE__URL": "postgresql+psycopg://u:p@db.example/heimdall"}
    with EmbeddedStack(home, services=False, replaced=elsewhere) as stack:
        assert stack.environment["HEIMDALL_DATABASE__URL"] == elsewhere["HEIMDALL_DATABASE__URL"]
        assert len(recorded(home)) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_as_root_postgres_runs_as_nobody_and_no_parent_folder_is_changed(home: Path) -> None:
    home.mkdir(parents=True)
    before = [(p, p.stat().st_mode, p.stat().st_uid) for p in home.parents]
    with EmbeddedStack(home, services=False):
        status = Path(f"/proc/{identity_of(home, 'postgres').pid}/status").read_text()
        others = Path(f"/proc/{identity_of(home, 'valkey').pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000004" in status  # CAP_DAC_READ_SEARCH alone
    assert "Uid:\t0" in others
    assert before == [(p, p.stat().st_mode, p.stat().st_uid) for p in home.parents]


def test_a_grandchild_that_left_its_group_is_ended_with_the_stack(home: Path) -> None:
    with EmbeddedStack(home, services=False):
        marker = Home(home).secrets().marker
        stray = subprocess.Popen(["sleep", "600"], env={**os.environ, MARKER: marker}, start_new_session=True)
    assert stray.wait(timeout=5) == -signal.SIGKILL


def test_a_pid_file_that_names_a_living_stranger_does_not_keep_postgres_down(home: Path) -> None:
    with EmbeddedStack(home, services=False):
        pid_file = home / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join(["1", *lines[1:]]) + "\n")
    with EmbeddedStack(home, services=False) as stack:
        write_everywhere(stack.environment)
