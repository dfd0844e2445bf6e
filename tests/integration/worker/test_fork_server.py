"""The fork server with real processes: trainers start, end, and never outlive what they belong to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heimdall_core.domain.errors import InfrastructureError
from worker.process_control import boot_seconds
from worker.trainers import SERVER_LOST, ForkServer

BAD_START = {"kind": "no such kind", "alive_until": boot_seconds() + 3600}


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer(preload=())
    yield server
    server.close()


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """A zombie does not run."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def read_to_end(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65_536):
        parts.append(part)
    return b"".join(parts)


def test_a_trainer_reports_its_error_and_exit_code(server: ForkServer) -> None:
    trainer = server.spawn()
    trainer.send(BAD_START)
    message = json.loads(read_to_end(trainer.events).splitlines()[0])
    assert message["type"] == "error"
    assert message["error"]["category"] == "bug"
    assert b"Traceback" in read_to_end(trainer.log)
    assert trainer.exit_code(5) == 1
    trainer.close()


def test_trainers_have_a_session_of_their_own_and_no_foreign_descriptor(server: ForkServer) -> None:
    trainer = server.spawn()
    assert os.getsid(trainer.pid) == trainer.pid
    open_descriptors = {int(p.name) for p in Path(f"/proc/{trainer.pid}/fd").iterdir()}
    assert len(open_descriptors) == 5, "stdin, stdout, stderr, control, events"
    trainer.close()
    assert trainer.exit_code(5) is not None


def test_a_trainer_that_never_gets_its_start_message_ends_with_its_pipe(server: ForkServer) -> None:
    trainer = server.spawn()
    os.close(trainer.control)
    assert trainer.exit_code(5) == 1


def test_a_killed_trainer_is_told_by_its_signal(server: ForkServer) -> None:
    trainer = server.spawn()
    trainer.signal_group(signal.SIGKILL)
    assert trainer.exit_code(5) == -signal.SIGKILL
    trainer.close()


def test_trainers_die_with_the_server_and_the_next_one_gets_a_new_server(server: ForkServer) -> None:
    trainers = [server.spawn(), server.spawn()]
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert [t.exit_code(5) for t in trainers] == [SERVER_LOST, SERVER_LOST]
    assert wait_until(lambda: not any(is_running(t.pid) for t in trainers))
    successor = server.spawn()
    assert server.pid != first
    successor.send(BAD_START)
    assert successor.exit_code(10) == 1
    for trainer in (*trainers, successor):
        trainer.close()


def test_a_sigterm_to_the_workers_group_does_not_reach_the_server(server: ForkServer) -> None:
    trainer = server.spawn()
    assert server.pid is not None
    assert os.getsid(server.pid) != os.getsid(0)
    os.kill(server.pid, signal.SIGTERM)
    trainer.send(BAD_START)
    assert trainer.exit_code(5) == 1, "the server ignored it and still tells of its trainers"
    trainer.close()


def test_a_missing_module_is_reported() -> None:
    from worker.fork_server import preload

    assert preload(["json", "no_such_module_at_all"])["missing"] == [
        "no_such_module_at_all: No module named 'no_such_module_at_all'"
    ]


WORKER_THAT_DIES = """
import os, signal, sys
from worker.trainers import ForkServer
server = ForkServer(preload=())
trainer = server.spawn()
print("pids", server.pid, trainer.pid, flush=True)
signal.pause()
"""


def test_nothing_survives_a_killed_worker() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER_THAT_DIES], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        line = next(line for line in worker.stdout if line.startswith("pids"))
        pids = [int(pid) for pid in line.split()[1:]]
        assert all(is_running(pid) for pid in pids)
        worker.kill()
        assert wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_a_server_that_answers_too_late_is_replaced(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    assert server.wait_ready(20)
    frozen = server.pid
    assert frozen is not None
    with monkeypatch.context() as patch:
        patch.setattr("worker.trainers._SPAWN_SECONDS", 0.2)
        os.kill(frozen, signal.SIGSTOP)
        with pytest.raises(InfrastructureError):
            server.spawn()
    os.kill(frozen, signal.SIGCONT)
    assert wait_until(lambda: server.pid is None)
    trainer = server.spawn()
    assert server.pid not in {None, frozen}
    trainer.close()


def test_a_trainer_ends_itself_when_its_time_has_come_whatever_its_supervisor_does(
    server: ForkServer,
) -> None:
    trainer = server.spawn()
    trainer.send({"kind": "no such kind", "alive_until": boot_seconds() - 1})
    assert trainer.exit_code(10) is not None
    trainer.close()
