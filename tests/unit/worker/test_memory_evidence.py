"""Whether the kernel's memory killer struck."""

from pathlib import Path

import pytest

from worker.memory_evidence import MemoryEvidence


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "memory.events"
    path.write_text("low 0\nmax 7\noom 3\noom_kill 2\n")
    return path


def test_kills_before_do_not_count(counter: Path) -> None:
    assert not MemoryEvidence([counter]).ran_out()


def test_one_more_kill_is_evidence(counter: Path) -> None:
    evidence = MemoryEvidence([counter])
    counter.write_text("low 0\noom 4\noom_kill 3\n")
    assert evidence.ran_out()


def test_pressure_without_a_kill_is_none(counter: Path) -> None:
    evidence = MemoryEvidence([counter])
    counter.write_text("low 9\nmax 99\noom 9\noom_kill 2\n")
    assert not evidence.ran_out()


def test_either_counter_is_enough(counter: Path, tmp_path: Path) -> None:
    host = tmp_path / "vmstat"
    host.write_text("nr_free_pages 5\noom_kill 0\n")
    evidence = MemoryEvidence([counter, host])
    host.write_text("nr_free_pages 5\noom_kill 1\n")
    assert evidence.ran_out()


def test_a_counter_that_is_absent_or_vanishes_proves_nothing(counter: Path, tmp_path: Path) -> None:
    evidence = MemoryEvidence([tmp_path / "none", counter])
    assert not evidence.ran_out()
    counter.unlink()
    assert not evidence.ran_out()


def test_a_counter_without_the_line_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "memory.events"
    path.write_text("low 0\noom_group_kill 5\n")
    evidence = MemoryEvidence([path])
    path.write_text("low 0\noom_group_kill 6\n")
    assert not evidence.ran_out()


def test_two_attempts_each_have_their_own_evidence(counter: Path) -> None:
    first = MemoryEvidence([counter])
    counter.write_text("oom_kill 3\n")
    second = MemoryEvidence([counter])
    assert first.ran_out()
    assert not second.ran_out()


def test_the_kernels_own_counters_can_be_read() -> None:
    assert isinstance(MemoryEvidence().ran_out(), bool)
