"""What is known of NVIDIA devices, by a script in the place of the driver's tool."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from worker import accelerators
from worker.accelerators import DeviceMemory, count_gpus, gpu_memory, visible_gpus

MIB = 2**20
Tool = Callable[[str], None]
Used = Callable[..., None]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tool:
    """Puts a script in the place of ``nvidia-smi``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def install(script: str) -> None:
        path = folder / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return install


@pytest.fixture
def used(tool: Tool, tmp_path: Path) -> Used:
    """Sets the MiB that each device is told to hold from now on, also while a slot looks."""
    told, part = tmp_path / "told", tmp_path / "part"
    tool(f"cat {told}")

    def tell(*mebibytes: int) -> None:
        part.write_text("".join(f"{index}, 16384, {value}\n" for index, value in enumerate(mebibytes)))
        part.replace(told)

    return tell


def test_memory_is_read_by_device(tool: Tool) -> None:
    tool("printf '0, 16384, 100\\n1, 81559, 2000\\n'")
    memory = gpu_memory()
    assert {index: (m.total_bytes, m.used_bytes) for index, m in memory.items()} == {
        "0": (16384 * MIB, 100 * MIB),
        "1": (81559 * MIB, 2000 * MIB),
    }


def test_the_tool_is_asked_for_numbers_in_mebibytes(tool: Tool, tmp_path: Path) -> None:
    tool(f'echo "$@" > {tmp_path}/asked')
    gpu_memory()
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["--query-gpu=index,memory.total,memory.used", "--format=csv,noheader,nounits"]


@pytest.mark.parametrize(
    "script",
    [
        "echo 'NVIDIA-SMI has failed' >&2; exit 9",
        "echo garbage",
        "echo '0, [N/A], [N/A]'",
        "echo '0, 1'",
        "echo '0, 1, 2, 3'",
        "kill -9 $$",
        "printf '\\377\\376'",
        "true",
    ],
    ids=["fails", "garbage", "not-available", "too-few", "too-many", "killed", "no-text", "silent"],
)
def test_a_tool_that_cannot_tell_tells_nothing(tool: Tool, script: str) -> None:
    tool(script)
    assert gpu_memory() == {}


def test_a_tool_that_hangs_is_given_up(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "_TIMEOUT_SECONDS", 0.2)
    tool("exec sleep 60")
    assert gpu_memory() == {}


def test_a_host_without_the_tool_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() == {}


def test_devices_may_be_hidden_and_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    present = len(list(Path("/dev").glob("nvidia[0-9]*")))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == tuple(str(index) for index in range(present))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_gpus() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1,")
    assert visible_gpus() == (("3", "1") if present else ())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Looks again at once; the worker's shutdown, set at the end."""
    monkeypatch.setattr(accelerators, "_RELEASE_POLL_SECONDS", 0.01)
    shutdown = threading.Event()
    yield shutdown
    shutdown.set()


def waiting(memory: DeviceMemory, shutdown: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=memory.wait_until_free, args=(shutdown,), daemon=True)
    thread.start()
    return thread


def complaints(logs: list[Any]) -> list[Any]:
    return [line for line in logs if line["event"] == "accelerator_memory_not_released"]


def test_a_clean_device_is_free_at_once(used: Used, impatient: threading.Event) -> None:
    used(100)
    memory = DeviceMemory("0")
    used(100 + 512)
    with capture_logs() as logs:
        memory.wait_until_free(impatient)
    assert complaints(logs) == [], "another process may take a little"


def test_a_slot_waits_until_the_memory_is_back_and_says_so(used: Used, impatient: threading.Event) -> None:
    used(100, 0)
    memory = DeviceMemory("0")
    used(100 + 513, 0)
    with capture_logs() as logs:
        thread = waiting(memory, impatient)
        thread.join(timeout=0.3)
        assert thread.is_alive()
        used(90, 9000)
        thread.join(timeout=20)
    assert not thread.is_alive()
    first, *_ = complaints(logs)
    assert (first["device"], first["bytes"], first["log_level"]) == ("0", 513 * MIB, "error")


def test_what_was_held_before_the_trainer_is_not_its_fault(used: Used, impatient: threading.Event) -> None:
    used(15_000)
    memory = DeviceMemory("0")
    memory.wait_until_free(impatient)


def test_a_shutdown_ends_the_wait(used: Used, impatient: threading.Event) -> None:
    used(0)
    memory = DeviceMemory("0")
    used(9000)
    thread = waiting(memory, impatient)
    impatient.set()
    thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.mark.parametrize("devices", [None, "", "GPU-4f5a", "7"])
def test_a_slot_whose_device_nobody_knows_never_waits(
    used: Used, impatient: threading.Event, devices: str | None
) -> None:
    used(0)
    memory = DeviceMemory(devices)
    used(9000)
    memory.wait_until_free(impatient)


def test_a_tool_that_fails_later_frees_the_slot(tool: Tool, used: Used, impatient: threading.Event) -> None:
    used(0)
    memory = DeviceMemory("0")
    tool("exit 1")
    memory.wait_until_free(impatient)
