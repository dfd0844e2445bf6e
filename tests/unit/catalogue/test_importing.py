import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heimdall_core.catalogue.importing import ImportReport, UploadedFile, import_files
from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.domain.ports import JobStopped, Progress, StopRequest, StoredObject
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.files import files_of_archive
from heimdall_core.recordings.iq import decode
from heimdall_core.recordings.reading import InputFile, read_sessions
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage.folder import FolderStore

RECORDINGS = "s3://raw/recordings"
TABLE = {
    "powder/receivers.csv": (
        b"name,latitude,longitude,noise_floor_db\nnorth,40.1,-111,-95\nsouth,40,-111,-92\n"
    ),
    "powder/transmissions.csv": (
        b"time,latitude,longitude,fold,north,south\n"
        b"2022-04-25T14:12:32Z,40.05,-111.01,3,-60,\n"
        b"2022-04-25T14:12:36Z,40.06,-191.02,4,-70,-91\n"
        b"2022-04-25T14:12:40Z,40.07,-111.03,,-80,-92\n"
    ),
}


@dataclass
class RecordingReporter:
    """Remembers what it is told; asks to stop after ``stop_after`` questions."""

    stop_after: int | None = None
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    percents: list[float] = field(default_factory=list)
    num_questions: int = 0

    def phase(self, phase: Any) -> None: ...

    def metrics(self, values: Any, *, step: int, epoch: int) -> None: ...

    def checkpoint(self, checkpoint: Any) -> None: ...

    def artifact(self, artifact: Any) -> None: ...

    def event(self, name: str, **data: Any) -> None:
        self.events.append((name, data))

    def progress(self, progress: Progress) -> None:
        assert progress.percent is not None
        self.percents.append(progress.percent)

    def stop_requested(self) -> StopRequest | None:
        self.num_questions += 1
        stop = self.stop_after is not None and self.num_questions > self.stop_after
        return "cancel" if stop else None


@dataclass
class Bench:
    """A store with an upload in it."""

    store: FolderStore
    root: Path
    reporter: RecordingReporter = field(default_factory=RecordingReporter)
    files: list[UploadedFile] = field(default_factory=list)

    def upload(self, name: str, data: bytes) -> UploadedFile:
        uri = f"s3://raw/uploads/{len(self.files)}"
        self.store.put_bytes(uri, data)
        self.files.append(UploadedFile(name=name, uri=uri, num_bytes=len(data)))
        return self.files[-1]

    def run(self, **options: Any) -> ImportReport:
        return import_files(
            self.files,
            **{"store": self.store, "recordings_uri": RECORDINGS, "reporter": self.reporter} | options,
        )

    def num_stored(self) -> int:
        return len(list((self.root / "raw" / "recordings").rglob("*.sigmf")))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(store=FolderStore(tmp_path), root=tmp_path)


@pytest.fixture(scope="module")
def archives() -> list[bytes]:
    return [pack_session(session).data for session in simulate_sessions(6, seed=1)]


def refusals(report: ImportReport) -> list[tuple[str, str]]:
    return [(refused.name, refused.code) for refused in report.refused]


def test_an_empty_upload_gives_an_empty_report(bench):
    assert bench.run().counts() == {"accepted": 0, "refused": 0, "duplicates": 0}


def test_archives_are_stored_by_content_and_described(bench, archives):
    for number, data in enumerate(archives):
        bench.upload(f"day/{number}.sigmf", data)

    report = bench.run()

    assert report.accepted == tuple(f"day/{number}.sigmf" for number in range(6))
    for session, data in zip(report.sessions, archives, strict=True):
        digest = hashlib.sha256(data).hexdigest()
        assert session.uri == f"{RECORDINGS}/{digest[:2]}/{digest}.sigmf"
        assert (session.sha256, session.num_bytes) == (digest, len(data))
        assert bench.store.get_bytes(session.uri) == data
        assert [r.name for r in session.receivers] == [r.receiver for r in session.recordings]


def test_each_recording_is_a_checked_range_of_its_archive(bench):
    (session,) = simulate_sessions(1, seed=3)
    bench.upload("one.sigmf", pack_session(session).data)
    (imported,) = bench.run().sessions
    for recording, original in zip(imported.recordings, session.recordings, strict=True):
        data = bench.store.get_bytes(recording.uri, offset=recording.offset, num_bytes=recording.num_bytes)
        assert hashlib.sha256(data).hexdigest() == recording.sha256
        assert np.array_equal(decode(data, recording.format), original.samples)
        assert recording.num_samples == 4224
        assert recording.duration_seconds == pytest.approx(0.338, abs=1e-3)
        assert recording.snr_db is not None
        assert recording.noise_floor_dbfs == original.noise_floor_dbfs


def test_loose_files_make_the_same_archive(bench, archives):
    for name, read in files_of_archive(archives[0]).items():
        bench.upload(f"loose/{name}", bytes(read()))
    (session,) = bench.run().sessions
    assert session.sha256 == hashlib.sha256(archives[0]).hexdigest()


def test_a_bad_archive_is_refused_and_the_rest_goes_on(bench, archives):
    bench.upload("bad.sigmf", b"no archive")
    bench.upload("good.sigmf", archives[0])
    bench.upload("cut.sigmf", archives[1][:-60_000])
    bench.upload("README.md", b"hello")

    report = bench.run()

    assert report.accepted == ("good.sigmf",)
    assert refusals(report) == [
        ("bad.sigmf", "not_sigmf"),
        ("cut.sigmf", "truncated"),
        ("README.md", "not_sigmf"),
    ]
    told = [data["file"] for name, data in bench.reporter.events if name == "file_refused"]
    assert told == ["bad.sigmf", "cut.sigmf", "README.md"]


def test_a_bad_recording_costs_its_session_only_that_recording(bench, archives):
    members = {name: bytes(read()) for name, read in files_of_archive(archives[0]).items()}
    data_files = [name for name in members if name.endswith("-data")]
    for name, data in members.items():
        bench.upload(name, data[:-8] if name == data_files[0] else data)
    report = bench.run()
    assert refusals(report) == [(data_files[0], "truncated")]
    assert len(report.sessions[0].recordings) == len(data_files) - 1


@pytest.mark.parametrize("name", ["gone.sigmf", "gone.sigmf-collection", "receivers.csv"])
def test_a_file_that_was_announced_but_not_stored_is_refused(bench, archives, name):
    bench.files.append(UploadedFile(name=name, uri="s3://raw/uploads/gone", num_bytes=10))
    bench.upload("transmissions.csv", TABLE["powder/transmissions.csv"]) if name.endswith("csv") else None
    bench.upload("good.sigmf", archives[0])
    report = bench.run()
    assert refusals(report) == [(name, "missing_upload")]
    assert report.accepted == ("good.sigmf",)


def test_samples_that_were_not_stored_are_refused(bench, archives):
    for name, read in files_of_archive(archives[0]).items():
        bench.upload(name, bytes(read()))
    lost = next(file for file in bench.files if file.name.endswith("-data"))
    bench.files[bench.files.index(lost)] = replace(lost, uri="s3://raw/uploads/gone")
    assert refusals(bench.run()) == [(lost.name, "missing_upload")]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"num_bytes": 7}, "size_mismatch"),
        ({"sha256": "0" * 64}, "sha256_mismatch"),
        ({"num_bytes": 2**40}, "too_large"),
    ],
)
def test_another_file_than_was_announced_is_refused(bench, archives, changes, code):
    file = bench.upload("one.sigmf", archives[0])
    bench.files[0] = replace(file, **changes)
    assert refusals(bench.run()) == [("one.sigmf", code)]


def test_the_announced_checksum_is_accepted(bench, archives):
    file = bench.upload("one.sigmf", archives[0])
    bench.files[0] = replace(file, sha256=hashlib.sha256(archives[0]).hexdigest())
    assert bench.run().accepted == ("one.sigmf",)


def test_the_same_session_twice_is_catalogued_once(bench, archives):
    bench.upload("a.sigmf", archives[0])
    bench.upload("b.sigmf", archives[0])
    report = bench.run()
    assert report.accepted == ("a.sigmf",)
    assert [(d.file, d.same_as) for d in report.duplicates] == [("b.sigmf", "a.sigmf")]
    assert bench.num_stored() == 1


def moved(session: RecordedSession, number: int, *, by_deg: float) -> bytes:
    """The session's archive, with one receiver farther north."""
    recordings = list(session.recordings)
    site = recordings[number].receiver
    there = replace(site, latitude=site.latitude + by_deg)
    recordings[number] = replace(recordings[number], receiver=there)
    return pack_session(replace(session, recordings=tuple(recordings))).data


def test_a_receiver_that_stands_in_two_places_refuses_the_later_session_and_the_rest_goes_on(bench):
    first, second, third = simulate_sessions(3, seed=1)
    site = second.recordings[0].receiver
    assert site.name in {recording.receiver.name for recording in first.recordings}
    bench.upload("a.sigmf", pack_session(first).data)
    bench.upload("b.sigmf", moved(second, 0, by_deg=2.0))
    bench.upload("c.sigmf", pack_session(third).data)
    report = bench.run()
    assert report.accepted == ("a.sigmf", "c.sigmf")
    assert refusals(report) == [("b.sigmf", "receiver_moved")]
    message = report.refused[0].message
    for part in (
        repr(site.name),
        f"{site.latitude:.5f}, {site.longitude:.5f}",
        f"{site.latitude + 2:.5f}, {site.longitude:.5f}",
        "a.sigmf",
    ):
        assert part in message
    assert "new name" in (report.refused[0].hint or "")
    assert bench.num_stored() == 2
    assert bench.reporter.events[0][0] == "file_refused"


def test_a_refused_session_places_no_receiver(bench):
    first, second, third = simulate_sessions(3, seed=1)
    names = [{r.receiver.name for r in session.recordings} for session in (first, second, third)]
    fresh = replace(second.recordings[1].receiver, name="fresh", latitude=10.0)
    spoiled = replace(
        second, recordings=(second.recordings[0], replace(second.recordings[1], receiver=fresh))
    )
    here = replace(third.recordings[0].receiver, name="fresh", latitude=20.0)
    good = replace(third, recordings=(replace(third.recordings[0], receiver=here),))
    assert spoiled.recordings[0].receiver.name in names[0]
    bench.upload("a.sigmf", pack_session(first).data)
    bench.upload("b.sigmf", moved(spoiled, 0, by_deg=2.0))
    bench.upload("c.sigmf", pack_session(good).data)
    assert bench.run().accepted == ("a.sigmf", "c.sigmf")


def test_a_receiver_whose_position_was_rounded_has_not_moved(bench):
    first, second = simulate_sessions(2, seed=1)
    bench.upload("a.sigmf", pack_session(first).data)
    bench.upload("b.sigmf", moved(second, 0, by_deg=0.0008))
    assert bench.run().accepted == ("a.sigmf", "b.sigmf")


def test_many_archives_pass_through_the_few_transfers(bench):
    for number, session in enumerate(simulate_sessions(20, seed=2)):
        bench.upload(f"{number}.sigmf", pack_session(session).data)
    assert len(bench.run().sessions) == bench.num_stored() == 20


def test_importing_again_stores_nothing_new(bench, archives):
    bench.upload("a.sigmf", archives[0])
    assert bench.run() == bench.run()
    assert bench.num_stored() == 1


def test_a_stop_is_obeyed_between_sessions(bench, archives):
    for number, data in enumerate(archives):
        bench.upload(f"{number}.sigmf", data)
    bench.reporter.stop_after = 3
    with pytest.raises(JobStopped) as stopped:
        bench.run()
    assert stopped.value.request == "cancel"
    assert bench.num_stored() <= 3


class FullStore(FolderStore):
    """Takes nothing more."""

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = "") -> StoredObject:
        raise StorageUnavailable(f"cannot store {uri}")


def test_a_store_that_fails_fails_the_import(bench, archives):
    bench.upload("a.sigmf", archives[0])
    with pytest.raises(StorageUnavailable):
        bench.run(store=FullStore(bench.root))


def test_progress_only_grows_and_ends_at_a_hundred(bench, archives):
    for number, data in enumerate(archives):
        bench.upload(f"{number}.sigmf", data)
    for name, data in TABLE.items():
        bench.upload(name, data)
    bench.run()
    assert bench.reporter.percents == sorted(bench.reporter.percents)
    assert bench.reporter.percents[-1] == pytest.approx(100)


def test_the_history_names_only_the_first_refusals(bench):
    for number in range(60):
        bench.upload(f"{number}.txt", b"")
    assert len(bench.run().refused) == 60
    assert sum(name == "file_refused" for name, _ in bench.reporter.events) == 50
    assert bench.reporter.events[-1] == ("files_imported", {"accepted": 0, "refused": 60, "duplicates": 0})


# Power tables


@pytest.fixture
def upload_table(bench: Bench) -> Callable[..., None]:
    def upload(**changed: bytes) -> None:
        for name, data in TABLE.items():
            bench.upload(name, changed.get(Path(name).stem, data))

    return upload


def test_rows_become_sessions_with_their_fold_and_a_bad_row_is_refused(bench, upload_table):
    upload_table()
    report = bench.run()
    assert report.accepted == ("powder/transmissions.csv:2", "powder/transmissions.csv:4")
    assert [s.split_group for s in report.sessions] == ["3", None]
    assert refusals(report) == [("powder/transmissions.csv:3", "bad_position")]
    assert [[r.receiver for r in s.recordings] for s in report.sessions] == [["north"], ["north", "south"]]
    north, south = report.sessions[1].recordings
    assert north.snr_db == pytest.approx(14.9, abs=0.5)
    assert south.snr_db is not None
    assert south.snr_db < -5


def test_some_receivers_of_a_table_can_be_taken(bench, upload_table):
    upload_table()
    report = bench.run(receivers=["south"])
    assert [[r.receiver for r in s.recordings] for s in report.sessions] == [["south"]]


def test_an_unknown_receiver_refuses_the_table(bench, upload_table):
    upload_table()
    assert refusals(bench.run(receivers=["east"])) == [("powder/receivers.csv", "unknown_receiver")]


@pytest.mark.parametrize("name", TABLE)
def test_half_a_table_is_refused(bench, name):
    bench.upload(name, TABLE[name])
    assert refusals(bench.run()) == [(name, "missing_pair")]


def test_a_bad_header_refuses_that_file_by_name(bench, upload_table):
    upload_table(transmissions=b"time,latitude\n")
    (refused,) = bench.run().refused
    assert (refused.name, refused.code) == ("powder/transmissions.csv", "csv_missing_column")
    assert "line 1, column longitude" in refused.message


# The report


def test_the_report_survives_json(bench, archives, upload_table):
    for number in (0, 0, 1):
        bench.upload(f"{len(bench.files)}-{number}.sigmf", archives[number])
    upload_table()
    report = bench.run()
    assert report.duplicates
    assert report.refused
    assert ImportReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_archive_reads_back_as_the_session(bench, upload_table):
    upload_table()
    imported = bench.run().sessions[0]
    data = bench.store.get_bytes(imported.uri)
    (session,) = read_sessions([InputFile(name="x.sigmf", read=lambda: data)])
    assert isinstance(session, RecordedSession)
    assert (session.source, session.started_at) == (imported.source, imported.started_at)
