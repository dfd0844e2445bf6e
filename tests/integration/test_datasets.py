"""Dataset queries, previews and versions on a real database, its rows written as the platform has them."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from sqlalchemy import func, select, text

from heimdall_core.database.catalogue_tables import DatasetVersion, SessionArchive, SessionImport
from heimdall_core.database.job_tables import Job
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.datasets.definition import (
    Box,
    Circle,
    DatasetDefinition,
    Region,
    SessionQuery,
    SplitSpec,
)
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.datasets.preview import preview_dataset
from heimdall_core.datasets.selection import select_sessions
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.manifest import Manifest

START = datetime(2025, 5, 1, tzinfo=UTC)
NAMESPACE = UUID(int=7)
RECEIVERS = ("aosta", "genoa", "turin")
RAW_BUCKET = "raw"
BY_SOURCE = SplitSpec(strategy="source")


def identity(*parts):
    return uuid5(NAMESPACE, "/".join(map(str, parts)))


class Catalogue:
    """Writes rows as COPY does, with whatever is not as usual."""

    def __init__(self, session, receivers=RECEIVERS):
        self.session = session
        self._insert(
            Station,
            [
                {"id": identity(name), "name": name, "url": "", "latitude": 44.0 + i, "longitude": 7.5}
                for i, name in enumerate(receivers)
            ],
        )

    def add(self, number, *, snr_db=None, receivers=RECEIVERS, recording=None, archive=True, **changes):
        """One approved session of a source of its own, 11 km north of the one before."""
        of_source = {"name": f"beacon-{number}", "frequency_hz": 145_000_000 + number}
        of_source |= {"latitude": 44.0 + 0.1 * number, "longitude": 7.0}
        of_source |= {k: changes.pop(k) for k in list(changes) if k in of_source}
        started_at = START + timedelta(hours=number)
        group = changes.pop("split_group", None)
        session_id = identity("session", number)
        self._insert(KnownSource, [{"id": identity("source", number), **of_source}])
        row = {"id": session_id, "known_source_id": identity("source", number), "session_name": f"s-{number}"}
        row |= {"session_start": started_at, "approval_status": "approved"} | changes
        self._insert(RecordingSession, [row])
        if archive:
            self._insert(
                SessionArchive,
                [
                    {
                        "session_id": session_id,
                        "uri": f"s3://{RAW_BUCKET}/{number}.sigmf",
                        "sha256": f"{number:064x}",
                        "num_bytes": 9,
                        "split_group": group,
                    }
                ],
            )
        levels = snr_db if isinstance(snr_db, dict) else dict.fromkeys(receivers, snr_db)
        rows = [self._recording(number, name, levels.get(name), started_at) for name in receivers]
        self._insert(Measurement, [one | (recording or {}) for one in rows])
        return str(session_id)

    def add_recording(self, number, receiver, *, minutes=0, **changes):
        started_at = START + timedelta(hours=number, minutes=minutes)
        row = self._recording(number, receiver, None, started_at)
        self._insert(Measurement, [row | {"id": identity(number, receiver, minutes)} | changes])

    def _recording(self, number, receiver, snr_db, started_at):
        return {
            "id": identity("recording", number, receiver),
            "websdr_station_id": identity(receiver),
            "timestamp": started_at,
            "frequency_hz": 145_000_000,
            "snr_db": snr_db,
            "iq_data_location": f"s3://{RAW_BUCKET}/{number}.sigmf",
            "iq_data_format": "cf32_le",
            "iq_sample_rate": 12_500,
            "recording_session_id": identity("session", number),
            "iq_sha256": hashlib.sha256(f"{number}{receiver}".encode()).hexdigest(),
            "iq_byte_offset": 512,
            "iq_num_bytes": 4096,
            "noise_floor_dbfs": -40.0,
        }

    def _insert(self, table, rows):
        if rows:
            self.session.execute(table.__table__.insert(), rows)


@pytest.fixture
def catalogue(session):
    return Catalogue(session)


def numbers_of(session, **query):
    """Numbers of the selected sessions, by their sources' names."""
    selection = select_sessions(session, SessionQuery(**query), raw_bucket=RAW_BUCKET)
    return [int(one.source.removeprefix("beacon-")) for one in selection.sessions]


def freeze(session, store, query=None, split=BY_SOURCE, name="northwest"):
    return freeze_dataset(
        session,
        DatasetDefinition(name=name, query=query or SessionQuery(), split=split),
        store=store,
        bucket="heimdall-models",
        raw_bucket=RAW_BUCKET,
        created_by="ann",
    )


def preview(session, query=None, split=BY_SOURCE, name="northwest"):
    definition = DatasetDefinition(name=name, query=query or SessionQuery(), split=split)
    return preview_dataset(session, definition, raw_bucket=RAW_BUCKET)


def codes(found):
    return [(problem.pointer, problem.code) for problem in found.problems]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"receivers": ("turin", "torino")}, "/query/receivers/1"),
        ({"sources": ("beacon-9",)}, "/query/sources/0"),
        ({"session_ids": (UUID(int=1),)}, "/query/session_ids/0"),
        ({"import_job_ids": ("job_x",)}, "/query/import_job_ids/0"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_not_ignored(catalogue, session, store, query, pointer):
    catalogue.add(0)
    for act in (preview, lambda *a: freeze(session, store, a[1])):
        with pytest.raises(InvalidRequest) as refused:
            act(session, SessionQuery(**query))
        assert [problem.pointer for problem in refused.value.problems] == [pointer]


def test_an_unknown_receiver_is_told_with_those_that_there_are(catalogue, session):
    with pytest.raises(InvalidRequest, match="aosta, genoa, turin"):
        preview(session, SessionQuery(receivers=("torino",)))


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"started_after": START, "started_before": START}, "/query/started_before"),
        ({"min_frequency_hz": 2.0, "max_frequency_hz": 1.0}, "/query/max_frequency_hz"),
        ({"receivers": ("turin", "turin"), "min_receivers": 2}, "/query/min_receivers"),
        ({"region": Region()}, "/query/region"),
    ],
)
def test_bounds_that_exclude_each_other_are_refused(session, store, query, pointer):
    for act in (preview, lambda *a: freeze(session, store, a[1])):
        with pytest.raises(InvalidRequest) as refused:
            act(session, SessionQuery(**query))
        assert [problem.pointer for problem in refused.value.problems] == [pointer]


@pytest.mark.parametrize("statuses", [("pending",), ("approved", "rejected")])
def test_only_approved_sessions_are_frozen(catalogue, session, store, statuses):
    for number in range(3):
        catalogue.add(number)
    query = SessionQuery(approval_status=statuses)
    with pytest.raises(InvalidRequest, match="not approved") as refused:
        freeze(session, store, query)
    assert refused.value.problems[0].pointer == "/query/approval_status"
    assert ("#/query/approval_status", "not_approved") in codes(preview(session, query))


def test_a_preview_tells_what_waits_for_approval(catalogue, session):
    for number, status in enumerate(["approved", "pending", None, "needs review", "rejected"]):
        catalogue.add(number, approval_status=status)
    found = preview(session)
    assert (found.sessions, found.left_out.pending, found.left_out.rejected) == (1, 3, 1)
    found = preview(session, SessionQuery(approval_status=("pending",)))
    assert (found.sessions, found.left_out.approved, found.left_out.rejected) == (3, 1, 1)
    assert found.splits is not None
    assert found.would_create_version is None


def test_times_include_the_first_moment_and_exclude_the_last(catalogue, session):
    for number in range(4):
        catalogue.add(number)
    hours = [START + timedelta(hours=number) for number in range(4)]
    assert numbers_of(session, started_after=hours[1], started_before=hours[3]) == [1, 2]


def test_a_band_includes_both_ends_and_is_the_sources(catalogue, session):
    for number in range(4):
        catalogue.add(number, recording={"frequency_hz": 1})
    assert numbers_of(session, min_frequency_hz=145_000_001.0, max_frequency_hz=145_000_002.0) == [1, 2]


def test_a_box_may_cross_the_antimeridian(catalogue, session):
    for number, longitude in enumerate([170.0, 179.9, -179.9, -170.0, 0.0]):
        catalogue.add(number, longitude=longitude)
    sides = {"min_latitude": 40.0, "max_latitude": 50.0}
    crossing = Box(min_longitude=175.0, max_longitude=-175.0, **sides)
    assert numbers_of(session, region=Region(box=crossing)) == [1, 2]
    plain = Box(min_longitude=-175.0, max_longitude=175.0, **sides)
    assert numbers_of(session, region=Region(box=plain)) == [0, 3, 4]
    found = preview(session, SessionQuery(region=Region(box=crossing)))
    assert (found.bounding_box.min_longitude, found.bounding_box.max_longitude) == (179.9, -179.9)


def test_a_circle_is_round_not_its_bounding_box(catalogue, session):
    catalogue.add(0, latitude=45.0, longitude=7.0)
    catalogue.add(1, latitude=45.08, longitude=7.0)
    catalogue.add(2, latitude=45.08, longitude=7.115)
    circle = Circle(latitude=45.0, longitude=7.0, radius_km=10.0)
    assert numbers_of(session, region=Region(circle=circle)) == [0, 1]


def test_sources_sessions_and_imports_restrict(catalogue, session):
    ids = [catalogue.add(number) for number in range(4)]
    session.add(Job(id="job_a", kind="import", owner="ann", spec={}))
    session.flush()
    session.add(SessionImport(job_id="job_a", session_id=UUID(ids[2])))
    session.flush()
    assert numbers_of(session, sources=("beacon-3", "beacon-0")) == [0, 3]
    assert numbers_of(session, session_ids=(UUID(ids[1]),)) == [1]
    assert numbers_of(session, import_job_ids=("job_a",)) == [2]


def test_selected_receivers_alone_become_the_inputs(catalogue, session):
    catalogue.add(0)
    catalogue.add(1, receivers=("genoa",))
    selection = select_sessions(session, SessionQuery(receivers=("turin", "aosta")), raw_bucket=RAW_BUCKET)
    assert [receiver.name for receiver in selection.receivers] == ["aosta", "turin"]
    assert [[r.receiver for r in one.recordings] for one in selection.sessions] == [["aosta", "turin"]]
    assert selection.left_out == {"no_recordings": 1}


def test_a_selected_receiver_without_a_recording_is_refused(catalogue, session, store):
    for number in range(3):
        catalogue.add(number, receivers=("aosta", "genoa"))
    query = SessionQuery(receivers=("aosta", "turin"))
    with pytest.raises(InvalidRequest, match="turin") as refused:
        freeze(session, store, query)
    assert refused.value.stable_code == "receiver_without_recordings"
    assert codes(preview(session, query)) == [("#/query/receivers/1", "receiver_without_recordings")]


def test_a_session_that_is_clear_enough_keeps_its_weak_recordings(catalogue, session):
    catalogue.add(0, snr_db={"aosta": 12.0, "genoa": 10.0, "turin": -8.0})
    catalogue.add(1, snr_db={"aosta": 30.0, "genoa": 9.9})
    catalogue.add(2, snr_db={"aosta": 30.0, "genoa": float("inf"), "turin": float("nan")})
    catalogue.add(3, snr_db=40.0, receivers=("turin",))
    query = SessionQuery(min_receivers=2, min_snr_db=10.0)
    selection = select_sessions(session, query, raw_bucket=RAW_BUCKET)
    assert [len(one.recordings) for one in selection.sessions] == [3]
    assert selection.left_out == {"below_min_snr": 2, "too_few_receivers": 1}
    assert numbers_of(session, min_receivers=2) == [0, 1, 2]


@pytest.mark.parametrize(
    "missing",
    [
        {"iq_sha256": None},
        {"iq_data_location": None},
        {"iq_byte_offset": None},
        {"iq_num_bytes": None},
        {"iq_sample_rate": None},
        {"iq_data_format": "wav"},
        {"iq_data_location": "s3://heimdall-models/somebody/elses"},
        {"iq_data_location": f"s3://{RAW_BUCKET}/../heimdall-models/x"},
        {"iq_data_format": None},
    ],
)
def test_a_recording_that_cannot_be_checked_is_left_out_and_counted(catalogue, session, missing):
    catalogue.add(0, recording=missing)
    catalogue.add(1, receivers=("aosta",))
    catalogue.add_recording(1, "genoa", **missing)
    found = preview(session)
    assert (found.sessions, found.recordings) == (1, 1)
    assert found.left_out.unverified_iq == 1
    assert found.recordings_left_out.unverified == 4


def test_a_recording_of_the_platform_needs_no_archive_and_is_a_byte_range_of_complex64(catalogue, session):
    catalogue.add(0, archive=False, recording={"iq_data_format": "npy", "iq_byte_offset": 128})
    (chosen,) = select_sessions(session, SessionQuery(), raw_bucket=RAW_BUCKET).sessions
    assert chosen.group is None
    assert {(r.format, r.offset) for r in chosen.recordings} == {("cf32_le", 128)}


def test_of_a_receiver_that_recorded_twice_the_earliest_is_taken(catalogue, session):
    catalogue.add(0)
    catalogue.add_recording(0, "genoa", minutes=-5, iq_byte_offset=1)
    catalogue.add_recording(0, "genoa", minutes=5, iq_byte_offset=2)
    (chosen,) = select_sessions(session, SessionQuery(), raw_bucket=RAW_BUCKET).sessions
    assert [recording.offset for recording in chosen.recordings] == [512, 1, 512]
    assert preview(session).recordings_left_out.repeated == 2


def test_the_digest_is_that_of_the_content_however_it_was_asked_for(catalogue, session, store):
    ids = [catalogue.add(number, snr_db=10.0) for number in range(6)]
    first = freeze(session, store)
    assert first.created
    for query in (
        SessionQuery(session_ids=tuple(UUID(i) for i in reversed(ids))),
        SessionQuery(receivers=("turin", "aosta", "genoa", "aosta"), min_snr_db=0.0),
        SessionQuery(
            started_after=START, region=Region(circle=Circle(latitude=44, longitude=7, radius_km=900))
        ),
    ):
        again = freeze(session, store, query)
        assert (again.created, again.version.version) == (False, 1)
        assert preview(session, query).same_as_version == 1


def test_the_whole_query_is_kept(catalogue, session, store):
    for number in range(3):
        catalogue.add(number, snr_db=10.0)
    box = Box(min_latitude=40, max_latitude=50, min_longitude=0, max_longitude=10)
    query = SessionQuery(started_after=START, region=Region(box=box), receivers=("aosta",), min_snr_db=1)
    row = freeze(session, store, query).version
    session.refresh(row)
    assert row.query["started_after"] == "2025-05-01T00:00:00Z"
    assert row.query["region"]["box"]["max_latitude"] == 50
    assert row.query["receivers"] == ["aosta"]
    assert row.query["approval_status"] == ["approved"]
    assert row.query["sources"] is None
    assert [receiver["name"] for receiver in row.receivers] == ["aosta"]


def test_a_preview_writes_nothing_and_agrees_with_what_is_frozen(catalogue, session, store):
    for number in range(8):
        catalogue.add(number, snr_db=4.0 * number, receivers=RECEIVERS[: 1 + number % 3])
    found = preview(session)
    assert session.scalar(select(func.count()).select_from(DatasetVersion)) == 0
    assert (found.problems, found.would_create_version, found.same_as_version) == ([], 1, None)
    row = freeze(session, store).version
    assert {split: size.sessions for split, size in found.splits.items()} == {
        split: row.counts[split] for split in ("train", "val", "test")
    }
    assert (found.recordings, found.units) == (row.counts["recordings"], row.counts["units"])
    manifest = Manifest.from_dict(json.loads(store.get_bytes(row.manifest_uri)))
    assert [one.name for one in found.receivers] == [one.name for one in manifest.receivers]
    assert preview(session).same_as_version == 1
    assert preview(session, split=SplitSpec(strategy="source", seed=3)).would_create_version == 2


def test_a_preview_counts(catalogue, session):
    catalogue.add(0, snr_db={"aosta": -3.0, "genoa": 12.0, "turin": 14.9})
    catalogue.add(1, snr_db={"aosta": 1.0}, receivers=("aosta", "genoa"))
    catalogue.add(2, snr_db=12.0, receivers=("genoa",), frequency_hz=145_000_000, latitude=44.0)
    found = preview(session)
    assert (found.sessions, found.recordings, found.sources, found.positions) == (3, 6, 3, 2)
    assert [(one.receivers, one.sessions) for one in found.heard_by] == [(1, 1), (2, 1), (3, 1)]
    assert [(one.name, one.recordings, one.median_snr_db) for one in found.receivers] == [
        ("aosta", 2, -1.0),
        ("genoa", 3, 12.0),
        ("turin", 1, 14.9),
    ]
    assert [(b.from_db, b.to_db, b.recordings) for b in found.snr.bins] == [
        (-5, 0, 1),
        (0, 5, 1),
        (10, 15, 3),
    ]
    assert found.snr.unknown == 1
    assert [(f.frequency_hz, f.sessions) for f in found.frequencies] == [(145e6, 2), (145_000_001.0, 1)]
    assert (found.time_range.first, found.time_range.last) == ("2025-05-01T00:00:00Z", "2025-05-01T02:00:00Z")
    assert found.bounding_box == Box(
        min_latitude=44.0, max_latitude=44.1, min_longitude=7.0, max_longitude=7.0
    )


def test_a_preview_of_nothing_says_why(catalogue, session):
    catalogue.add(0, approval_status="pending")
    found = preview(session)
    assert codes(found) == [("#/query", "no_approved_sessions")]
    assert (found.sessions, found.splits, found.units, found.time_range, found.bounding_box) == (
        0,
        *[None] * 4,
    )


def test_a_preview_of_what_cannot_be_split_says_why_and_still_counts(catalogue, session):
    for number in range(5):
        catalogue.add(number)
    found = preview(session, split=SplitSpec(block_km=10_000))
    assert codes(found) == [("#/split", "bad_split")]
    assert (found.sessions, found.splits, found.would_create_version) == (5, None, None)
    assert found.units == 1
    found = preview(session, split=SplitSpec(strategy="group"))
    assert (codes(found), found.units) == ([("#/split/strategy", "bad_split")], None)


def test_the_same_recording_in_two_splits_is_refused(catalogue, session, store):
    for number in range(4):
        catalogue.add(number)
    twin = catalogue.add(9, recording={"iq_sha256": "a" * 64}, receivers=("aosta",))
    other = catalogue.add(10, recording={"iq_sha256": "a" * 64}, receivers=("genoa",))
    split = SplitSpec(strategy="source", test_groups=("beacon-9",), val_groups=("beacon-1",))
    with pytest.raises(InvalidRequest, match=twin) as refused:
        freeze(session, store, split=split)
    assert refused.value.stable_code == "duplicate_recordings"
    found = preview(session, split=split)
    assert codes(found) == [("#/split", "duplicate_recordings")]
    assert (found.duplicates.sessions, found.duplicates.across_splits) == (2, 2)
    assert found.duplicates.session_ids == [twin, other]
    together = SplitSpec(strategy="source", test_groups=("beacon-9", "beacon-10"), val_groups=("beacon-1",))
    assert freeze(session, store, split=together).created
    assert preview(session, split=together).duplicates.across_splits == 0


def test_silence_is_no_duplicate(catalogue, session, store):
    silence = {"iq_sha256": hashlib.sha256(bytes(4096)).hexdigest()}
    for number in range(4):
        catalogue.add(number, receivers=("aosta", "genoa"))
        catalogue.add_recording(number, "turin", **silence)
    assert preview(session).duplicates.sessions == 0
    assert freeze(session, store).created


@pytest.mark.slow
def test_twenty_thousand_sessions_of_seven_receivers_are_previewed_in_seconds(session, store):
    receivers = tuple(f"rx-{i}" for i in range(7))
    Catalogue(session, receivers)
    copy_sessions(session, receivers, count=20_000)
    region = Region(circle=Circle(latitude=45, longitude=7.5, radius_km=50))
    narrow = SessionQuery(region=region, min_snr_db=10, min_receivers=3)
    seconds = {}

    def timed(what, act):
        started = time.perf_counter()
        result = act()
        seconds[what] = round(time.perf_counter() - started, 2)
        return result

    assert timed("all", lambda: preview(session, split=SplitSpec())).problems == []
    assert timed("narrow", lambda: preview(session, narrow, split=SplitSpec())).problems == []
    assert timed("freeze", lambda: freeze(session, store, split=SplitSpec())).created
    assert timed("compared", lambda: preview(session, split=SplitSpec())).same_as_version == 1
    print(seconds)  # noqa: T201 - the figures themselves
    assert max(seconds.values()) < 30
    assert seconds["narrow"] < seconds["all"]


def copy_sessions(session, receivers, *, count):
    """Approved sessions at 500 positions, by COPY."""
    station_ids = [str(identity(name)) for name in receivers]
    source_ids = [str(identity("source", i)) for i in range(500)]
    rows = {
        "heimdall.known_sources (id, name, frequency_hz, latitude, longitude)": [
            (source_ids[i], f"beacon-{i}", 145_000_000 + i, 44 + 0.004 * i, 6.5 + 0.03 * (i % 71))
            for i in range(500)
        ],
        "heimdall.recording_sessions (id, known_source_id, session_name, session_start, approval_status)": [
            (str(identity("s", n)), source_ids[n % 500], f"s-{n}", START + timedelta(minutes=n), "approved")
            for n in range(count)
        ],
        "heimdall.measurements (id, recording_session_id, websdr_station_id, timestamp, frequency_hz, snr_db,"
        " iq_data_location, iq_data_format, iq_sample_rate, iq_sha256, iq_byte_offset, iq_num_bytes)": [
            (
                *(str(identity("m", n, r)), str(identity("s", n)), station_ids[r]),
                *(START + timedelta(minutes=n), 145_000_000, (n * 7 + r * 5) % 60 - 20),
                *(f"s3://{RAW_BUCKET}/recordings/{n:064x}.sigmf", "cf32_le", 12_500),
                *(f"{n:032x}{r:032x}", 512 + 4096 * r, 4096),
            )
            for n in range(count)
            for r in range(len(receivers))
        ],
    }
    driver = session.connection().connection.driver_connection
    for target, values in rows.items():
        with driver.cursor().copy(f"copy {target} from stdin") as copy:
            for row in values:
                copy.write_row(row)


def test_a_source_that_lost_its_place_or_frequency_is_left_out_and_counted(catalogue, session):
    catalogue.add(0)
    catalogue.add(1)
    session.execute(text("alter table heimdall.known_sources alter column frequency_hz drop not null"))
    session.execute(
        text(
            "update heimdall.known_sources set frequency_hz = null where id ="
            " (select known_source_id from heimdall.recording_sessions order by session_start limit 1)"
        )
    )
    found = preview(session)
    assert (found.sessions, found.left_out.incomplete_source) == (1, 1)


def test_each_session_is_left_out_for_one_reason_and_only_if_the_rest_of_the_query_finds_it(
    catalogue, session
):
    catalogue.add(0, approval_status="rejected")
    catalogue.add(1, latitude=44.48, longitude=7.6)
    catalogue.add(2)
    session.execute(text("alter table heimdall.known_sources alter column frequency_hz drop not null"))
    session.execute(text("update heimdall.known_sources set frequency_hz = null where name <> 'beacon-2'"))
    left_out = preview(session).left_out
    assert (left_out.rejected, left_out.incomplete_source) == (1, 1)
    circle = Circle(latitude=44.1, longitude=7.0, radius_km=50)
    left_out = preview(session, SessionQuery(region=Region(circle=circle))).left_out
    assert (left_out.rejected, left_out.incomplete_source) == (1, 0)
