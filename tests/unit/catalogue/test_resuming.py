"""An import that was stopped goes on where it was, and ends as if it had not been stopped."""

import io
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heimdall_core.catalogue.import_journal import ImportJournal, JournalPace
from heimdall_core.catalogue.importing import ImportReport, UploadedFile, import_files
from heimdall_core.catalogue.platform_reading import read_platform_recordings
from heimdall_core.catalogue.platform_report import PlatformPlan, PlatformRecording
from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.domain.ports import Checkpoint, JobStopped
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.files import files_of_archive
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage.folder import FolderStore

RECORDINGS = "s3://raw/recordings"
OFTEN = JournalPace(num_units=1, seconds=0.0)
TABLE = {
    "powder/receivers.csv": (
        b"name,latitude,longitude,noise_floor_db\nnorth,40.1,-111,-95\nsouth,40,-111,-92\n"
    ),
    "powder/transmissions.csv": b"time,latitude,longitude,fold,north,south\n"
    + b"".join(
        b"2022-04-25T14:12:%02dZ,%s,-111.01,3,-60,-91\n" % (second, b"40.05" if second != 3 else b"95")
        for second in range(8)
    ),
}


class CountingStore(FolderStore):
    """Counts what is read and stored."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()
        self.puts: Counter[str] = Counter()

    def get_bytes(self, uri, *, offset=0, num_bytes=None):
        self.reads[uri] += 1
        return super().get_bytes(uri, offset=offset, num_bytes=num_bytes)

    def put_bytes(self, uri, data, *, media_type="application/octet-stream"):
        self.puts[uri] += 1
        return super().put_bytes(uri, data, media_type=media_type)


class Reporter:
    """Keeps checkpoints and events; asks to stop after so many questions."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.num_questions = 0
        self.checkpoints: list[Checkpoint] = []
        self.events: list[tuple[str, dict]] = []
        self.percents: list[float] = []

    def stop_requested(self):
        self.num_questions += 1
        return "shutdown" if self.stop_after is not None and self.num_questions > self.stop_after else None

    def checkpoint(self, checkpoint):
        self.checkpoints.append(checkpoint)

    def event(self, name, **data):
        self.events.append((name, data))

    def progress(self, progress):
        self.percents.append(progress.percent)


class Upload:
    """Files in a store, and attempts to import them."""

    def __init__(self, root: Path) -> None:
        self.store = CountingStore(root)
        self.files: list[UploadedFile] = []
        self.num_attempts = 0

    def add(self, name: str, data: bytes) -> None:
        uri = f"s3://raw/uploads/{len(self.files)}/{Path(name).name}"
        self.store.put_bytes(uri, data)
        self.files.append(UploadedFile(name=name, uri=uri, num_bytes=len(data)))

    def attempt(
        self,
        reporter: Reporter,
        former: Checkpoint | None = None,
        pace: JournalPace = OFTEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> ImportReport:
        self.num_attempts += 1
        self.store.reads.clear()
        self.store.puts.clear()
        journal = ImportJournal(
            store=self.store,
            output_uri=f"s3://models/jobs/j/a{self.num_attempts}",
            reporter=reporter,
            former=former,
            pace=pace,
            clock=clock,
        )
        return import_files(
            self.files, store=self.store, recordings_uri=RECORDINGS, reporter=reporter, journal=journal
        )

    def stopped(self, stop_after: int, former: Checkpoint | None = None) -> Checkpoint | None:
        """The newest checkpoint of an attempt that is stopped."""
        reporter = Reporter(stop_after)
        with pytest.raises(JobStopped):
            self.attempt(reporter, former)
        return reporter.checkpoints[-1] if reporter.checkpoints else None

    def uploads_read(self) -> set[str]:
        names = {file.uri: file.name for file in self.files}
        return {names[uri] for uri in self.store.reads if uri in names}


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    return Upload(tmp_path)


@pytest.fixture(scope="module")
def archives() -> list[bytes]:
    return [pack_session(session).data for session in simulate_sessions(8, seed=4)]


@pytest.fixture
def mixed(upload, archives):
    """A table with a bad row, archives with a bad and a repeated one, and loose collections."""
    for name, data in TABLE.items():
        upload.add(name, data)
    for number, data in enumerate(archives[:4]):
        upload.add(f"day/{number}.sigmf", data)
    upload.add("day/3-bad.sigmf", b"no archive")
    upload.add("day/4-again.sigmf", archives[0])
    for number, data in enumerate(archives[4:]):
        for name, read in files_of_archive(data).items():
            upload.add(f"loose{number}/{name}", bytes(read()))
    upload.add("notes.txt", b"hello")
    return upload


def test_archives_that_were_accounted_for_are_not_read_again(upload, archives):
    for number, data in enumerate(archives):
        upload.add(f"{number}.sigmf", data)
    checkpoint = upload.stopped(5)
    assert checkpoint is not None
    assert checkpoint.step == 5

    reporter = Reporter()
    report = upload.attempt(reporter, checkpoint)

    assert upload.uploads_read() == {"5.sigmf", "6.sigmf", "7.sigmf"}
    assert report.accepted == tuple(f"{number}.sigmf" for number in range(8))
    assert reporter.events[0] == ("import_resumed", {"files_done": 5})
    assert min(reporter.percents) > 50


@pytest.mark.parametrize("stop_after", range(1, 20, 2))
def test_the_report_of_a_stopped_import_is_that_of_one_that_was_not(mixed, stop_after):
    whole = mixed.attempt(Reporter())
    assert (len(whole.sessions), len(whole.refused), len(whole.duplicates)) == (15, 3, 1)
    checkpoint = mixed.stopped(stop_after)
    assert mixed.attempt(Reporter(), checkpoint) == whole


def test_an_import_that_is_stopped_again_and_again_comes_to_its_end(mixed):
    whole = mixed.attempt(Reporter())
    checkpoint, steps = None, []
    for _ in range(40):
        reporter = Reporter(stop_after=2)
        try:
            report = mixed.attempt(reporter, checkpoint)
            break
        except JobStopped:
            checkpoint = reporter.checkpoints[-1] if reporter.checkpoints else checkpoint
            steps.append(checkpoint.step if checkpoint else 0)
    assert report == whole
    assert len(steps) > 5
    assert steps == sorted(steps)


def test_rows_and_collections_that_were_accounted_for_cost_neither_samples_nor_storage(mixed):
    everything = Reporter()
    mixed.attempt(everything)
    last = everything.checkpoints[-1]
    mixed.attempt(Reporter(), last)
    samples = {name for name in mixed.uploads_read() if name.endswith((".sigmf", ".sigmf-data"))}
    assert len({name.split("/")[0] for name in samples}) <= 1
    stored = [uri for uri in mixed.store.puts if uri.startswith(RECORDINGS)]
    assert len(stored) <= 1


def test_the_journal_is_written_no_more_often_than_its_pace(upload, archives):
    for number, data in enumerate(archives):
        upload.add(f"{number}.sigmf", data)
    slow, wide = Reporter(), Reporter()
    upload.attempt(slow, pace=JournalPace(num_units=1, seconds=3600))
    upload.attempt(wide, pace=JournalPace(num_units=3, seconds=0))
    assert slow.checkpoints == []
    assert [checkpoint.step for checkpoint in wide.checkpoints] == [3, 6]


def test_few_large_files_are_written_down_by_the_time_they_took(upload, archives):
    class Slow(Reporter):
        seconds = 0.0

        def stop_requested(self):
            self.seconds += 25.0
            return super().stop_requested()

    for number, data in enumerate(archives):
        upload.add(f"{number}.sigmf", data)
    slow = Slow()
    upload.attempt(slow, pace=JournalPace(), clock=lambda: slow.seconds)
    assert [checkpoint.step for checkpoint in slow.checkpoints] == [3, 6]


@pytest.mark.parametrize(
    ("seconds", "due"),
    [
        (9.0, [False, False, False]),
        (10.0, [False, False, True]),
        (59.0, [False, False, True]),
        (60.0, [False, True, True]),
    ],
)
def test_a_journal_is_due_by_units_or_by_time_but_never_at_once_or_without_news(tmp_path, seconds, due):
    clock = iter([0.0, seconds, seconds, seconds])
    journal = ImportJournal(
        store=FolderStore(tmp_path),
        output_uri="s3://m/j",
        reporter=Reporter(),
        clock=lambda: next(clock),
    )
    assert [journal.is_due(num_units) for num_units in (0, 1, 200)] == due


def test_a_receiver_that_moved_is_found_after_the_break_as_before_it(upload):
    first, second = simulate_sessions(2, seed=4)
    site = second.recordings[0].receiver
    assert site.name in {recording.receiver.name for recording in first.recordings}
    elsewhere = replace(second.recordings[0], receiver=replace(site, longitude=site.longitude + 1))
    upload.add("a.sigmf", pack_session(first).data)
    upload.add("b.sigmf", pack_session(replace(second, recordings=(elsewhere,))).data)
    whole = upload.attempt(Reporter())
    assert [(r.name, r.code) for r in whole.refused] == [("b.sigmf", "receiver_moved")]
    checkpoint = upload.stopped(1)
    assert checkpoint is not None
    assert upload.attempt(Reporter(), checkpoint) == whole
    assert upload.uploads_read() == {"b.sigmf"}


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_journal_that_cannot_be_trusted_is_left_and_the_import_begins_anew(mixed, tmp_path, damage):
    whole = mixed.attempt(Reporter())
    checkpoint = mixed.stopped(9)
    first = tmp_path / "models/jobs/j" / f"a{mixed.num_attempts}" / "import-progress-1.json"
    first.unlink() if damage == "gone" else first.write_bytes(b"{}")
    reporter = Reporter()
    assert mixed.attempt(reporter, checkpoint) == whole
    assert reporter.events[0][0] == "import_progress_lost"


def test_a_store_that_takes_no_journal_fails_the_import(upload, archives):
    class Full(CountingStore):
        def put_bytes(self, uri, data, *, media_type=""):
            if "import-progress" in uri:
                raise StorageUnavailable(f"cannot store {uri}")
            return super().put_bytes(uri, data, media_type=media_type)

    for number, data in enumerate(archives[:2]):
        upload.add(f"{number}.sigmf", data)
    upload.store.__class__ = Full
    with pytest.raises(StorageUnavailable):
        upload.attempt(Reporter())


# The platform's recordings


def platform_plan(store: FolderStore, count: int) -> PlatformPlan:
    recordings = []
    for number in range(count):
        target = io.BytesIO()
        samples = np.random.default_rng(number).normal(size=(2, 6000))
        np.save(target, (samples[0] + 1j * samples[1]).astype(np.complex64))
        uri = f"s3://raw/sessions/{number}.npy"
        if number != 2:
            store.put_bytes(uri, target.getvalue())
        recordings.append(
            PlatformRecording(
                session_id=f"s{number // 2}",
                session_name=f"session {number // 2}",
                measurement_id=f"m{number}",
                timestamp="2025-09-01T08:00:00.000000Z",
                receiver=f"rx{number % 2}",
                name=f"sessions/{number}.npy",
                location=uri,
                uri=uri,
                sample_rate_hz=12_500,
                frequency_hz=145_000_000,
                num_samples=None if number == 1 else 6000,
            )
        )
    refused = (RefusedFile(name="x.npy", code="ambiguous_session", message="fits two"),)
    return PlatformPlan(recordings=tuple(recordings), refused=refused)


def read_platform(plan, store, reporter, former=None):
    journal = ImportJournal(
        store=store, output_uri="s3://models/jobs/j/a1", reporter=reporter, former=former, pace=OFTEN
    )
    return read_platform_recordings(plan, store=store, reporter=reporter, journal=journal)


def test_recordings_of_the_platform_that_were_read_are_not_read_again(tmp_path):
    store = CountingStore(tmp_path)
    plan = PlatformPlan.from_dict(json.loads(json.dumps(platform_plan(store, 12).to_dict())))
    whole = read_platform(plan, store, Reporter())
    assert (len(whole.described), [r.code for r in whole.refused]) == (
        11,
        ["ambiguous_session", "missing_object"],
    )
    reporter = Reporter(stop_after=7)
    with pytest.raises(JobStopped):
        read_platform(plan, store, reporter)
    store.reads.clear()
    assert read_platform(plan, store, Reporter(), reporter.checkpoints[-1]) == whole
    assert {uri for uri in store.reads if uri.endswith(".npy")} == {
        f"s3://raw/sessions/{number}.npy" for number in range(7, 12)
    }
