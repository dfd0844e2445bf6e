"""What was written down is there after a crash, in order, once, and never more than the limit."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heimdall_core.tracking import journal as journals
from heimdall_core.tracking.items import Item, Point, RunStart
from heimdall_core.tracking.journal import FileJournal, InUse, MemoryJournal

START = RunStart(key="job_1", key_tag="heimdall.job_id", name="run", tags={"a": "b"}, at_ms=5)
LIMIT = 1 << 20


def point(step: int) -> Item:
    return Item(points=(Point(name="loss", value=1.0 / (step + 1), step=step, at_ms=step),))


def steps(items: list[Item]) -> list[int]:
    return [p.step for item in items for p in item.points]


def crash(journal: FileJournal) -> None:
    """As when its process is killed: its files are closed, nothing else happens."""
    journal._lock_file.close()
    if journal._writer is not None:
        journal._writer.close()


Make = Callable[..., FileJournal]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a journal, or opens that of a folder."""
    made: list[FileJournal] = []

    def make(folder: Path | None = None, *, limit_bytes: int = LIMIT) -> FileJournal:
        if folder is None:
            folder = tmp_path / "spool" / "run"
            made.append(FileJournal.create(folder, START, target_key="t", limit_bytes=limit_bytes))
        else:
            made.append(FileJournal(folder, limit_bytes))
        return made[-1]

    yield make
    for journal in made:
        crash(journal)


@pytest.fixture
def journal(make: Make) -> FileJournal:
    return make()


def test_what_a_killed_process_wrote_is_read_by_the_next_one_in_order(
    journal: FileJournal, make: Make
) -> None:
    for step in range(10):
        assert journal.append(point(step))
    assert steps(journal.peek(4)) == [0, 1, 2, 3]
    journal.take(3)
    crash(journal)
    again = make(journal.folder)
    assert (again.start, again.target_key) == (START, "t")
    assert steps(again.peek(100)) == list(range(3, 10))
    assert again.append(point(10))
    again.take(7)
    assert steps(again.peek(100)) == [10]


def test_every_line_that_was_written_before_a_kill_is_there(journal: FileJournal, make: Make) -> None:
    crash(journal)
    program = (
        "import sys, itertools, pathlib\n"
        "from heimdall_core.tracking.items import Item\n"
        "from heimdall_core.tracking.journal import FileJournal\n"
        f"journal = FileJournal(pathlib.Path({str(journal.folder)!r}), 1 << 30)\n"
        "for n in itertools.count():\n"
        "    journal.append(Item(params={'n': str(n)}))\n"
        "    print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(2000)]
        with pytest.raises(InUse):
            make(journal.folder)
        child.kill()
        told += child.stdout.readlines()
    numbers = [int(item.params["n"]) for item in make(journal.folder).peek(1 << 30)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= len([line for line in told if line.endswith("\n")])


def test_a_torn_and_a_damaged_line_are_passed_over_and_harm_no_other(
    journal: FileJournal, make: Make
) -> None:
    for step in range(4):
        journal.append(point(step))
    crash(journal)
    (file,) = journal.folder.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"loss", b"l\rss")
    file.write_bytes(b"".join(lines)[:-7])
    again = make(journal.folder)
    again.append(point(9))
    assert steps(again.peek(100)) == [0, 2, 9]
    assert again.num_damaged == 1


def test_all_kinds_of_items_survive(journal: FileJournal, make: Make, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    items = [
        Item(params={"a": "1"}),
        Item(tags={"b": "2"}),
        Item(points=(Point(name="x", value=float("inf"), step=-1, at_ms=2),)),
        Item(file=journal.keep_file(tmp_path / "report.json"), folder="plots"),
        Item(end_status="FAILED", at_ms=7),
    ]
    for item in items:
        journal.append(item)
    crash(journal)
    assert make(journal.folder).peek(100) == items


def test_a_file_is_kept_after_the_original_went_and_goes_when_it_was_sent(
    journal: FileJournal, tmp_path: Path
) -> None:
    original = tmp_path / "model.png"
    original.write_bytes(b"png")
    kept = journal.keep_file(original)
    journal.append(Item(file=kept))
    original.unlink()
    assert (kept.name, kept.read_bytes()) == ("model.png", b"png")
    journal.peek(1)
    journal.take(1)
    assert not kept.exists()


def test_the_limit_holds_but_for_what_a_run_is_wrong_without(make: Make, tmp_path: Path) -> None:
    journal = make(limit_bytes=500)
    taken = sum(journal.append(point(step)) for step in range(100))
    assert 0 < taken < 20
    assert journal.append(Item(end_status="FINISHED"))
    (tmp_path / "big").write_bytes(bytes(600))
    with pytest.raises(OSError, match="more than the spool"):
        journal.keep_file(tmp_path / "big")
    held = sum(path.stat().st_size for path in journal.folder.glob("*.jsonl"))
    assert held < 600


def test_what_was_sent_makes_room(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_SEGMENT_BYTES", 200)
    journal = make(limit_bytes=1000)
    for step in range(500):
        assert journal.append(point(step)), step
        assert steps(journal.peek(10)) == [step]
        journal.take(1)
    assert len(list(journal.folder.glob("*.jsonl"))) <= 2


def test_a_disk_that_is_full_loses_the_line_and_no_other(journal: FileJournal) -> None:
    journal.append(point(0))
    writer = journal._writer
    assert writer is not None
    write = writer.write

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(writer, name)

        def write(self, data: bytes) -> int:
            return int(write(data[: len(data) // 2]))

    journal._writer = Full()  # type: ignore[assignment]
    with pytest.raises(OSError, match="full"):
        journal.append(point(1))
    journal.append(point(2))
    assert steps(journal.peek(100)) == [0, 2]


def test_a_disk_that_has_no_room_for_a_new_file_may_get_room(
    journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals, "_SEGMENT_BYTES", 30)
    journal.append(point(0))
    with monkeypatch.context() as patched:
        patched.setattr(journals, "FileIO", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                journal.append(point(1))
    journal.append(point(2))
    assert steps(journal.peek(100)) == [0, 2]


def test_a_broken_disk_does_not_keep_the_journal_locked(
    journal: FileJournal, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    journal.append(point(0))
    with monkeypatch.context() as patched:
        patched.setattr(journals, "_read_from", broken)
        with pytest.raises(OSError, match="Input"):
            journal.close()
    assert steps(make(journal.folder).peek(9)) == [0]


def test_whose_journal_it_is_survives_a_loss_of_power(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").read_bytes()))
    journal = make()
    assert synced == [(journal.folder / "run.json").read_bytes()]


def test_a_journal_has_one_writer(journal: FileJournal, make: Make) -> None:
    with pytest.raises(InUse):
        make(journal.folder)


def test_a_journal_that_was_sent_whole_leaves_nothing(journal: FileJournal) -> None:
    journal.append(point(0))
    journal.peek(1)
    journal.take(1)
    journal.close()
    assert not journal.folder.exists()
    assert not journal.append(point(1))


def test_a_journal_that_was_not_sent_whole_stays(journal: FileJournal, make: Make) -> None:
    journal.append(point(0))
    journal.close()
    assert journal.peek(9) == []
    assert steps(make(journal.folder).peek(9)) == [0]


def test_memory_is_bounded_too() -> None:
    journal = MemoryJournal(limit=2)
    assert [journal.append(point(step)) for step in range(3)] == [True, True, False]
    assert journal.append(Item(end_status="FINISHED"))
    journal.take(1)
    assert steps(journal.peek(9)) == [1]
