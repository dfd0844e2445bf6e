"""Publishing imports and freezing datasets on a real database."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from heimdall_core.catalogue.import_report import (
    DuplicateSession,
    ImportedRecording,
    ImportedSession,
    ImportReport,
)
from heimdall_core.catalogue.publishing import publish_import
from heimdall_core.database.catalogue_tables import SessionArchive
from heimdall_core.database.job_tables import Job
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession, Station
from heimdall_core.datasets.definition import DatasetDefinition, SessionQuery, SplitSpec
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.datasets.selection import select_sessions
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.manifest import Manifest
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import ReceiverSite, Source

START = datetime(2025, 5, 1, tzinfo=UTC)
JOB_ID = "job_aaaaaaaaaaaaaaaaaaaaaaaa"
OTHER_JOB_ID = "job_bbbbbbbbbbbbbbbbbbbbbbbb"


def sites(count):
    return tuple(
        ReceiverSite(name=f"rx-{i:02}", latitude=44.0 + 0.1 * i, longitude=7.5, altitude_m=100.0 + i)
        for i in range(count)
    )


def imported_session(number, receivers, *, split_group=None):
    started_at = START + timedelta(seconds=number)
    uri = f"s3://heimdall-raw-iq/recordings/{number}.sigmf"
    recordings = tuple(
        ImportedRecording(
            receiver=site.name,
            uri=uri,
            offset=512 + 4096 * index,
            num_bytes=4096,
            sha256=f"{number:032x}{index:032x}",
            format="cf32_le",
            sample_rate_hz=12_500.0,
            center_frequency_hz=145e6,
            noise_floor_dbfs=-40.0,
            snr_db=12.5,
            started_at=started_at,
            num_samples=512,
            duration_seconds=0.041,
        )
        for index, site in enumerate(receivers)
    )
    return ImportedSession(
        name=f"session-{number}",
        file=f"{number}.sigmf",
        uri=uri,
        sha256=f"{number:064x}",
        num_bytes=512 + 4096 * len(receivers),
        source=Source(
            name=f"beacon-{number % 50}",
            frequency_hz=145e6,
            latitude=44.0 + 0.03 * (number % 50),
            longitude=7.0 + 0.03 * (number % 50),
            error_margin_m=5.0,
        ),
        receivers=tuple(receivers),
        recordings=recordings,
        started_at=started_at,
        duration_seconds=0.041,
        split_group=split_group,
    )


def report_of(count, *, receivers=3, first=0):
    return ImportReport(
        sessions=tuple(imported_session(n, sites(receivers)) for n in range(first, first + count))
    )


def add_import_job(session, job_id=JOB_ID):
    session.add(Job(id=job_id, kind="import", owner="ann", spec={}))
    session.flush()


def count(session, table):
    return session.scalar(select(func.count()).select_from(table))


@pytest.fixture
def catalogued(session):
    """Twenty approved sessions of three receivers."""
    add_import_job(session)
    publish_import(session, report_of(20), job_id=JOB_ID, auto_approve=True)
    return session


def freeze(session, store, **parts):
    return freeze_dataset(
        session,
        DatasetDefinition(name="northwest", **parts),
        store=store,
        bucket="heimdall-models",
        raw_bucket="heimdall-raw-iq",
        created_by="ann",
    )


def test_an_import_of_nothing_publishes_nothing(session):
    add_import_job(session)
    refused = RefusedFile(name="x.sigmf", code="empty", message="holds no samples", hint=None)
    result = publish_import(session, ImportReport(refused=(refused,)), job_id=JOB_ID, auto_approve=True)
    assert result["accepted"] == 0
    assert result["refused"] == [
        {"name": "x.sigmf", "code": "empty", "message": "holds no samples", "hint": None}
    ]
    assert count(session, RecordingSession) == 0


def test_sessions_enter_once_with_their_recordings(session):
    add_import_job(session)
    report = report_of(4)
    twin = DuplicateSession(name="a", file="b", sha256="c", same_as="d")
    result = publish_import(session, replace(report, duplicates=(twin,)), job_id=JOB_ID, auto_approve=False)
    assert (result["accepted"], result["duplicates"]) == (4, 1)
    add_import_job(session, OTHER_JOB_ID)
    again = publish_import(session, report_of(5), job_id=OTHER_JOB_ID, auto_approve=True)
    assert (again["accepted"], again["duplicates"]) == (1, 4)
    assert count(session, RecordingSession) == count(session, SessionArchive) == 5
    assert count(session, Measurement) == 15
    assert count(session, Station) == 3
    approvals = session.execute(
        select(RecordingSession.approval_status, func.count()).group_by(RecordingSession.approval_status)
    )
    assert dict(approvals.all()) == {"pending": 4, "approved": 1}


def test_a_source_is_known_by_name_frequency_and_place(session):
    add_import_job(session)
    one = imported_session(1, sites(1))
    moved = replace(one, sha256="f" * 64, source=replace(one.source, latitude=45.5))
    retuned = replace(one, sha256="e" * 64, source=replace(one.source, frequency_hz=430e6))
    publish_import(session, ImportReport(sessions=(one, moved, retuned)), job_id=JOB_ID, auto_approve=False)
    publish_import(
        session,
        ImportReport(sessions=(replace(one, sha256="d" * 64),)),
        job_id=JOB_ID,
        auto_approve=False,
    )
    assert count(session, KnownSource) == 3


@pytest.mark.parametrize(("shift_deg", "num_warnings"), [(0.0005, 0), (0.002, 1)])
def test_a_receiver_that_moved_is_reported_and_keeps_its_place(session, shift_deg, num_warnings):
    add_import_job(session)
    publish_import(session, report_of(1, receivers=1), job_id=JOB_ID, auto_approve=False)
    site = sites(1)[0]
    shifted = replace(site, latitude=site.latitude + shift_deg)
    report = ImportReport(sessions=(imported_session(7, [shifted]), imported_session(8, [shifted])))
    result = publish_import(session, report, job_id=JOB_ID, auto_approve=False)
    assert [w["receiver"] for w in result["warnings"]] == ["rx-00"] * num_warnings
    assert session.scalars(select(Station.latitude)).all() == [site.latitude]


def test_only_approved_sessions_are_selected_in_order_of_time(catalogued):
    publish_import(catalogued, report_of(5, first=20), job_id=JOB_ID, auto_approve=False)
    selection = select_sessions(catalogued, SessionQuery(), raw_bucket="heimdall-raw-iq")
    starts = [chosen.started_at for chosen in selection.sessions]
    assert len(starts) == 20
    assert starts == sorted(starts)
    assert [receiver.name for receiver in selection.receivers] == ["rx-00", "rx-01", "rx-02"]
    assert selection.receivers[1].altitude_m == 101.0
    assert all(len(chosen.recordings) == 3 for chosen in selection.sessions)


def test_a_version_says_what_it_was_made_of(catalogued, store):
    frozen = freeze(catalogued, store, split=SplitSpec(strategy="source", seed=3))
    row = frozen.version
    assert frozen.created
    assert row.counts["train"] + row.counts["val"] + row.counts["test"] == 20
    assert row.counts["recordings"] == 60
    assert row.split["seed"] == 3
    assert row.manifest_uri == f"s3://heimdall-models/datasets/northwest/{row.digest}.json"
    data = store.get_bytes(row.manifest_uri)
    assert Manifest.from_dict(json.loads(data)).origin_latitude == pytest.approx(44.1)


def test_groups_come_from_the_import(session, store):
    add_import_job(session)
    fields = [imported_session(n, sites(2), split_group=f"field-{n % 3}") for n in range(9)]
    publish_import(session, ImportReport(sessions=tuple(fields)), job_id=JOB_ID, auto_approve=True)
    split = SplitSpec(strategy="group", test_groups=("field-1",), val_groups=("field-2",))
    assert freeze(session, store, split=split).version.counts["test"] == 3


def test_an_import_that_nobody_knows_selects_nothing(catalogued, store):
    with pytest.raises(InvalidRequest, match="no such import job"):
        freeze(catalogued, store, query=SessionQuery(import_job_ids=("job_b",)))


def test_versions_frozen_at_once_are_numbered_one_after_the_other(database, store):
    with database.transaction() as session:
        add_import_job(session)
        publish_import(session, report_of(30), job_id=JOB_ID, auto_approve=True)

    def make(seed):
        with database.transaction() as session:
            return freeze(session, store, split=SplitSpec(strategy="source", seed=seed % 3)).version.version

    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(make, range(6)))
    assert set(versions) == {1, 2, 3}
    assert versions[:3] == versions[3:]


def test_imports_at_once_share_receivers_and_sources(database):
    with database.transaction() as session:
        for number in range(4):
            add_import_job(session, f"job_{number}")

    def publish(number):
        with database.transaction() as session:
            report = report_of(10, first=10 * number)
            return publish_import(session, report, job_id=f"job_{number}", auto_approve=False)["accepted"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(publish, range(4))) == [10] * 4
    with database.transaction() as session:
        assert count(session, Station) == 3
        assert count(session, KnownSource) == 40


@pytest.mark.slow
def test_a_large_import_is_published_and_frozen_in_seconds(database, store):
    report = report_of(3500, receivers=25)
    with database.transaction() as session:
        add_import_job(session)
        started = time.perf_counter()
        publish_import(session, report, job_id=JOB_ID, auto_approve=True)
        published = time.perf_counter() - started
        assert count(session, Measurement) == 87_500
    with database.transaction() as session:
        started = time.perf_counter()
        assert freeze(session, store).created
        frozen = time.perf_counter() - started
    print(f"published in {published:.1f} s, frozen in {frozen:.1f} s")  # noqa: T201 - the figure itself
    assert published < 60
    assert frozen < 60
