"""Identities, the launcher and children: with small programs in place of the engines."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heimdall_core.embedded.children import Child, Children, rotate
from heimdall_core.embedded.errors import ProcessFailed
from heimdall_core.embedded.identity import (
    MARKER,
    ProcessIdentity,
    any_process_in,
    end_marked,
    identify,
    marked,
    wait_until,
)
from heimdall_core.embedded.launcher import CANNOT_ENTER, CANNOT_RUN
from heimdall_core.embedded.program import ProgramSpec, launch_command

SLEEP = "/bin/sleep"


def child_of(tmp_path: Path, *argv: str, **changes) -> Child:
    spec = ProgramSpec(name="small", argv=argv, cwd=tmp_path, **changes)
    return Child(spec=spec, environment={"PATH": os.defpath}, log=tmp_path / "small.log")


def python(tmp_path: Path, code: str, **changes) -> Child:
    return child_of(tmp_path, sys.executable, "-c", code, **changes)


def launched(*argv: str, cwd: Path, parent: int | None = None) -> subprocess.CompletedProcess[str]:
    command = launch_command(argv, user=None, cwd=cwd, death_signal=signal.SIGTERM)
    if parent is not None:
        command[4] = str(parent)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_running_process_has_an_identity_and_a_dead_one_none():
    process = subprocess.Popen([SLEEP, "60"])
    identity = identify(process.pid)
    assert identity is not None
    assert identity.is_alive()
    process.kill()
    assert wait_until(lambda: not identity.is_alive(), seconds=5), "a zombie does not live"
    process.wait()
    assert identify(process.pid) is None


def test_a_later_process_with_the_same_pid_is_another_one():
    assert not ProcessIdentity(pid=os.getpid(), started="boot:1").is_alive()


def test_marked_processes_are_found_and_ended(tmp_path):
    process = subprocess.Popen([SLEEP, "60"], env={MARKER: "just-this"}, start_new_session=True)
    try:
        assert wait_until(lambda: [p.pid for p in marked("just-this")] == [process.pid], seconds=5)
        assert end_marked("just-this", grace_seconds=0) == 1
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert end_marked("just-this", grace_seconds=0) == 0


def test_processes_are_found_by_where_they_work(tmp_path):
    assert not any_process_in(tmp_path)
    process = subprocess.Popen([SLEEP, "60"], cwd=tmp_path)
    assert any_process_in(tmp_path)
    process.kill()
    process.wait()


def test_the_launcher_does_not_start_for_a_parent_that_is_gone(tmp_path):
    assert launched("/bin/echo", "x", cwd=tmp_path, parent=1).returncode == CANNOT_RUN


def test_the_launcher_tells_a_missing_program(tmp_path):
    done = launched("/no/such/program", cwd=tmp_path)
    assert done.returncode == CANNOT_RUN
    assert "cannot run /no/such/program" in done.stderr


def test_the_launcher_tells_a_folder_that_cannot_be_entered(tmp_path):
    done = launched("/bin/echo", cwd=tmp_path / "absent")
    assert done.returncode == CANNOT_ENTER
    assert "cannot enter" in done.stderr


def test_the_launcher_becomes_the_program_in_its_folder(tmp_path):
    done = launched("/bin/pwd", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_follows_its_killed_parent(tmp_path):
    code = f"""
import signal, subprocess, sys
from pathlib import Path
from heimdall_core.embedded.program import launch_command
command = launch_command(["{SLEEP}", "60"], user=None, cwd=Path("/"), death_signal=signal.SIGTERM)
print(subprocess.Popen(command, start_new_session=True).pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", seconds=5)
    child = identify(pid)
    assert child is not None
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: not child.is_alive(), seconds=5)


def test_a_program_that_ends_before_it_is_ready_is_told_with_the_end_of_its_log(tmp_path):
    child = python(tmp_path, "print('the reason'); raise SystemExit(3)", is_ready=lambda: False)
    child.start()
    with pytest.raises(ProcessFailed, match=r"(?s)small ended with exit status 3.*the reason") as caught:
        child.wait_ready()
    assert str(child.log) in caught.value.hint
    child.wait_stopped()


@pytest.mark.slow
def test_a_program_that_never_becomes_ready_is_told(tmp_path):
    child = child_of(tmp_path, SLEEP, "60", is_ready=lambda: False, ready_seconds=0.1)
    child.start()
    with pytest.raises(ProcessFailed, match=r"(?s)small is not ready after 0 s.*it wrote nothing"):
        child.wait_ready()
    child.wait_stopped()


def test_the_log_of_an_earlier_run_is_not_quoted(tmp_path):
    child = python(tmp_path, "print('now')")
    child.log.write_text("before\n")
    child.start()
    assert wait_until(lambda: not child.is_running, seconds=10)
    assert child.last_lines() == "    now"
    assert child.log.read_text() == "before\nnow\n"
    child.wait_stopped()


def test_restarts_wait_longer_each_time(tmp_path):
    child = child_of(tmp_path, "/bin/false")
    child.start()
    lines: list[str] = []

    def revived(times: int) -> bool:
        if line := child.revive():
            lines.append(line)
        return child.restarts == times

    assert wait_until(lambda: revived(2), seconds=20)
    assert "restarting in 0.5 s" in lines[0]
    assert "restarting in 1.0 s" in lines[1]
    assert "exit status 1" in lines[0]
    child.wait_stopped()


def test_a_program_that_ignores_its_stop_signal_is_killed_with_its_group(tmp_path):
    code = f"""
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["{SLEEP}", "60"]).pid, flush=True)
signal.pause()
"""
    child = python(tmp_path, code, stop_seconds=0.2)
    child.start()
    assert wait_until(lambda: child.log.read_text().endswith("\n"), seconds=10)
    grandchild = identify(int(child.log.read_text()))
    assert grandchild is not None
    children = Children(members=[child])
    children.stop(["another", "small"])
    assert wait_until(lambda: not grandchild.is_alive(), seconds=5)
    assert [state.state for state in children.states()] == ["stopped"]


def test_everything_can_be_killed_at_once(tmp_path):
    child = child_of(tmp_path, SLEEP, "60")
    child.start()
    assert child.ask_ready()
    assert child.state().state == "running"
    Children(members=[child]).kill()
    assert child.exit_code == -signal.SIGKILL
    assert child.state().state == "restarting"
    child.wait_stopped()


def test_a_child_that_was_never_started_can_be_stopped(tmp_path):
    child = child_of(tmp_path, SLEEP, "60")
    child.ask_to_stop()
    child.wait_stopped()
    child.kill()
    assert child.revive() is None
    assert child.state().state == "stopped"


def test_a_log_is_put_aside_only_when_it_has_grown(tmp_path):
    log = tmp_path / "small.log"
    rotate(log, limit=3)
    log.write_text("abc")
    rotate(log, limit=3)
    assert log.exists()
    log.write_text("abcd")
    rotate(log, limit=3)
    assert not log.exists()
    assert (tmp_path / "small.log.1").read_text() == "abcd"
