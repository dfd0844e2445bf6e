"""A full disk costs nothing but the safety of having it on disk."""

import errno
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from heimdall_core.tracking import spilling
from heimdall_core.tracking.items import Item, Point, RunStart
from heimdall_core.tracking.journal import FileJournal
from heimdall_core.tracking.spilling import SpillingJournal

START = RunStart(key="job_1", key_tag="heimdall.job_id", name="run", tags={}, at_ms=5)


class Disk(FileJournal):
    """A journal on a disk that can be full."""

    is_full = False

    def append(self, item: Item) -> bool:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(item)

    def keep_file(self, path: Path) -> Path:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().keep_file(path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk.create(tmp_path / "spool" / "run", START, target_key="t", limit_bytes=1 << 20)
    yield disk
    disk.close()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def journal(disk: Disk, told: list[str], monkeypatch: pytest.MonkeyPatch) -> SpillingJournal:
    monkeypatch.setattr(spilling, "_RETRY_SECONDS", -1.0)
    return SpillingJournal(disk, notice=told.append)


def point(step: int) -> Item:
    return Item(points=(Point(name="loss", value=1.0, step=step, at_ms=step),))


def steps(items: list[Item]) -> list[int]:
    return [p.step for item in items for p in item.points]


def test_what_a_full_disk_does_not_take_is_sent_from_memory_in_order(
    journal: SpillingJournal, disk: Disk, told: list[str]
) -> None:
    journal.append(point(0))
    disk.is_full = True
    for step in (1, 2):
        assert journal.append(point(step))
    assert journal.append(Item(end_status="FINISHED"))
    assert steps(journal.peek(2)) == [0, 1]
    journal.take(2)
    assert [item.end_status for item in journal.peek(9)] == [None, "FINISHED"]
    journal.take(2)
    journal.close()
    assert not disk.folder.exists()
    assert len(told) == 1


def test_what_waited_in_memory_is_written_before_what_comes_when_there_is_room_again(
    journal: SpillingJournal, disk: Disk
) -> None:
    disk.is_full = True
    journal.append(point(0))
    journal.append(point(1))
    assert steps(journal.peek(1)) == [0]
    disk.is_full = False
    journal.append(point(2))
    journal.take(1)
    journal.close()
    with closing(FileJournal(disk.folder, 1 << 20)) as left:
        assert steps(left.peek(9)) == [1, 2]


def test_what_is_lost_at_the_end_is_told(journal: SpillingJournal, disk: Disk, told: list[str]) -> None:
    disk.is_full = True
    journal.append(point(0))
    journal.append(point(1))
    journal.close()
    assert "2 items are lost" in told[-1]


def test_memory_has_a_limit_that_does_not_hold_for_parameters_and_the_end(
    journal: SpillingJournal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.is_full = True
    monkeypatch.setattr(journal._memory, "_limit", 2)
    assert [journal.append(point(step)) for step in range(3)] == [True, True, False]
    assert journal.append(Item(params={"a": "1"}))
    assert journal.append(Item(end_status="FINISHED"))


def test_a_file_that_cannot_be_copied_is_sent_from_where_it_is(
    journal: SpillingJournal, disk: Disk, tmp_path: Path
) -> None:
    disk.is_full = True
    (tmp_path / "report.json").write_text("{}")
    assert journal.keep_file(tmp_path / "report.json") == tmp_path / "report.json"
    with pytest.raises(OSError, match="No space"):
        journal.keep_file(tmp_path / "absent.json")
