"""Beside a platform whose tables were there first: its sessions are taken over, its data stay as they are."""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import numpy as np
import pytest
from sqlalchemy import create_engine, make_url, text
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from api.app import create_app
from api.services import Services
from heimdall_core.accounts.keys import ensure_key
from heimdall_core.catalogue.import_publication import prepare_import
from heimdall_core.catalogue.import_running import run_import
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job
from heimdall_core.database.migrate import upgrade
from heimdall_core.settings import DatabaseSettings

KEY = "hmd_" + "p" * 40
START = datetime(2025, 9, 1, 8, tzinfo=UTC)
RATE_HZ = 12_500
OURS = {
    "websdr_stations": {"altitude_asl"},
    "known_sources": {"error_margin_meters"},
    "recording_sessions": set(),
    "measurements": {
        "recording_session_id",
        "iq_sha256",
        "iq_byte_offset",
        "iq_num_bytes",
        "noise_floor_dbfs",
    },
}

#: As the platform makes its tables, without TimescaleDB.
PLATFORM = """
create schema heimdall;
create function heimdall.touch() returns trigger language plpgsql as
    $$ begin new.updated_at = clock_timestamp(); return new; end $$;
create table heimdall.websdr_stations (
    id uuid primary key default gen_random_uuid(), name varchar(255) not null unique,
    url varchar(512) not null, country varchar(100), latitude float not null, longitude float not null,
    frequency_min_hz bigint, frequency_max_hz bigint, is_active boolean default true,
    api_type varchar(50) default 'http', rate_limit_ms int default 1000, timeout_seconds int default 30,
    retry_count int not null default 3, admin_email varchar(255), location_description text, notes text,
    created_at timestamptz default now(), updated_at timestamptz default now(),
    constraint valid_frequencies check (frequency_min_hz <= frequency_max_hz));
create table heimdall.known_sources (
    id uuid primary key default gen_random_uuid(), name varchar(255) not null, description text,
    frequency_hz bigint, latitude float, longitude float, power_dbm float, source_type varchar(100),
    is_validated boolean default false, created_at timestamptz default now(),
    updated_at timestamptz default now());
create table heimdall.recording_sessions (
    id uuid primary key default gen_random_uuid(),
    known_source_id uuid references heimdall.known_sources (id) on delete cascade,
    session_name varchar(255) not null, session_start timestamptz not null, session_end timestamptz,
    duration_seconds float, celery_task_id varchar(255), status varchar(50) default 'pending',
    approval_status varchar(50) default 'pending', uncertainty_meters float, notes text,
    created_at timestamptz default now(), updated_at timestamptz default now(),
    constraint valid_status check (status in
        ('pending', 'in_progress', 'completed', 'partial_failure', 'failed')));
create table heimdall.measurements (
    timestamp timestamptz not null, id uuid not null default gen_random_uuid(),
    websdr_station_id uuid references heimdall.websdr_stations (id) on delete cascade,
    frequency_hz bigint not null, signal_strength_db float, snr_db float, frequency_offset_hz int,
    iq_data_location varchar(512), iq_data_format varchar(50), iq_sample_rate int, iq_samples_count int,
    duration_seconds float, notes text, created_at timestamptz default now(), primary key (timestamp, id));
create index on heimdall.measurements (websdr_station_id, timestamp desc);
create table heimdall.training_datasets (
    id uuid primary key default gen_random_uuid(), name varchar(255) not null unique,
    station_id uuid references heimdall.websdr_stations (id));
create trigger touch before update on heimdall.recording_sessions
    for each row execute function heimdall.touch();
create trigger touch before update on heimdall.known_sources
    for each row execute function heimdall.touch();
insert into heimdall.websdr_stations (name, url, country, latitude, longitude, admin_email) values
    ('Aquila di Giaveno', 'http://sdr1.example.org:8076', 'Italy', 45.03, 7.27, 'a@example.org'),
    ('Genova', 'http://sdr6.example.org:42154', 'Italy', 44.395, 8.956, null),
    ('Torino', 'http://sdr3.example.org:8073', 'Italy', 45.044, 7.672, null);
insert into heimdall.training_datasets (name) values ('their own');
"""


@pytest.fixture
def platform(settings, store) -> Iterator["Platform"]:
    """A database that only the platform has used."""
    url = make_url(settings.database.url.get_secret_value())
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("drop database if exists platform with (force)"))
        connection.execute(text("create database platform"))
    own = url.set(database="platform").render_as_string(hide_password=False)
    database = Database(DatabaseSettings(url=own), application_name="platform-tests")
    yield Platform(settings, database, store)
    database.dispose()
    with admin.connect() as connection:
        connection.execute(text("drop database platform with (force)"))
    admin.dispose()


class Platform:
    """The platform at work, and this service beside it."""

    def __init__(self, settings, database, store):
        self.settings, self.database, self.store = settings, database, store
        self.bucket = settings.storage.raw_bucket
        self.execute(PLATFORM)

    def execute(self, statement, **values):
        with self.database.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else []

    def add_source(self, name="IK1XYZ", *, frequency_hz=144_390_000, latitude=44.9, longitude=7.9):
        (row,) = self.execute(
            "insert into heimdall.known_sources (name, frequency_hz, latitude, longitude, power_dbm) "
            "values (:name, :f, :lat, :lon, 40) returning id",
            name=name,
            f=frequency_hz,
            lat=latitude,
            lon=longitude,
        )
        return row.id

    def add_session(self, source_id, name, minute, **columns):
        """A session of ten seconds; ``columns`` replace what it states."""
        start = START + timedelta(minutes=minute)
        stated = {
            "known_source_id": source_id,
            "session_name": name,
            "session_start": start,
            "session_end": start + timedelta(seconds=10),
            "duration_seconds": 10.0,
            "status": "completed",
            "celery_task_id": f"task-{name}",
        } | columns
        names = ", ".join(stated)
        places = ", ".join(f":{column}" for column in stated)
        (row,) = self.execute(
            f"insert into heimdall.recording_sessions ({names}) values ({places}) returning id", **stated
        )
        return str(row.id)

    def record(self, key, receiver, minute, *, seconds=1.0, data=None, bare=False, **columns):
        """What the recorder does for one receiver: an object, then a row."""
        data = npy(key) if data is None else data
        if data:
            self.store.put_bytes(f"s3://{self.bucket}/{key}", data)
        stated = {
            "timestamp": START + timedelta(minutes=minute, seconds=seconds),
            "frequency_hz": 144_389_999,
            "snr_db": None,
            "signal_strength_db": -61.5,
            "iq_data_location": key if bare else f"s3://{self.bucket}/{key}",
            "iq_data_format": "npy",
            "iq_sample_rate": RATE_HZ,
            "iq_samples_count": 8000,
            "duration_seconds": 0.64,
        } | columns
        names = ", ".join(stated)
        places = ", ".join(f":{column}" for column in stated)
        self.execute(
            f"insert into heimdall.measurements (websdr_station_id, {names}) values "
            f"((select id from heimdall.websdr_stations where name = :receiver), {places})",
            receiver=receiver,
            **stated,
        )

    def record_session(self, source_id, name, minute, receivers=("Genova", "Torino"), **columns):
        session_id = self.add_session(source_id, name, minute, **columns)
        for receiver in receivers:
            bare = receiver == receivers[0]
            self.record(f"sessions/{name}/{receiver}.npy", receiver, minute, bare=bare)
        return session_id

    @contextmanager
    def service(self):
        """Our API over their database, migrated."""
        upgrade(self.database.engine)
        with self.database.transaction() as session:
            ensure_key(session, KEY, owner="ann", name="test")
        services = Services(
            settings=self.settings, database=self.database, store=self.store, hints=_NoHints()
        )
        headers = {"Authorization": f"Bearer {KEY}"}
        with capture_logs(), TestClient(create_app(services), headers=headers) as client:
            yield client

    def take_over(self, client, meanwhile=lambda: None, **body):
        """Imports and does the worker's part; returns the job's id and its result."""
        answer = client.post("/v1/recording-sessions:import", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"], self.work(answer.json()["id"], meanwhile)

    def work(self, job_id, meanwhile=lambda: None):
        with self.database.transaction() as session:
            inputs = session.get(Job, job_id).inputs
        reporter = _Reporter()
        found = run_import(
            inputs,
            store=self.store,
            reporter=reporter,
            output_uri=f"s3://{self.settings.storage.models_bucket}/jobs/{job_id}/a1",
            recordings_uri=f"s3://{self.bucket}/recordings",
            resume_from=None,
        )
        self.report = json.loads(self.store.get_bytes(reporter.artifacts[0].object.uri))
        meanwhile()
        findings = json.loads(self.store.get_bytes(found["findings_uri"]))
        with self.database.transaction() as session:
            return prepare_import(inputs["options"], findings)(session, session.get(Job, job_id))

    def rows(self):
        """Every value of the platform's own columns."""
        dump = {}
        for table, ours in OURS.items():
            left_out = ours | ({"approval_status", "updated_at"} if table == "recording_sessions" else set())
            dump[table] = sorted(
                json.dumps(
                    {k: v for k, v in row._mapping.items() if k not in left_out}, default=str, sort_keys=True
                )
                for row in self.execute(f"select * from heimdall.{table}")
            )
        return dump | {"datasets": self.execute("select * from heimdall.training_datasets")}

    def definitions(self):
        """Their columns, constraints, indexes, triggers and functions, without the columns that we added."""
        columns = self.execute(
            "select table_name, column_name, data_type, is_nullable, column_default, "
            "character_maximum_length from information_schema.columns where table_schema = 'heimdall'"
        )
        mine = {(table, column) for table, names in OURS.items() for column in names}
        return {
            "columns": sorted(str(c) for c in columns if (c.table_name, c.column_name) not in mine),
            "constraints": self.execute(
                "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint "
                "where connamespace = 'heimdall'::regnamespace and contype <> 'n' order by 1, 2"
            ),
            "indexes": self.execute(
                "select indexdef from pg_indexes where schemaname = 'heimdall' order by 1"
            ),
            "triggers": self.execute(
                "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal "
                "and tgrelid::regclass::text like 'heimdall.%' order by 1"
            ),
            "functions": self.execute(
                "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'heimdall'::regnamespace"
            ),
        }


class _NoHints:
    def start(self): ...
    def hint(self): ...
    def close(self): ...


class _Reporter:
    def __init__(self):
        self.artifacts = []

    def artifact(self, artifact):
        self.artifacts.append(artifact)

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def npy(seed, num_samples=8000):
    """Noise with a carrier, as ``numpy.save`` writes it."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4]))
    noise = rng.normal(size=(2, num_samples)) / 50
    samples = (noise[0] + 1j * noise[1] + 0.3).astype(np.complex64)
    target = io.BytesIO()
    np.save(target, samples)
    return target.getvalue()


def codes(result):
    return {(refused["name"], refused["code"]) for refused in result["refused"]}


def test_the_platforms_rows_and_definitions_survive_migration_import_approval_and_removal(platform):
    for number in range(6):
        source = platform.add_source(f"source-{number}", latitude=44.3 + 0.3 * number)
        platform.record_session(source, f"s{number}", 10 * number)
    rows, definitions = platform.rows(), platform.definitions()

    with platform.service() as client:
        assert (platform.rows(), platform.definitions()) == (rows, definitions)
        job_id, result = platform.take_over(client)
        assert (result["accepted"], result["recordings"], result["refused"]) == (6, 12, [])
        assert platform.rows() == rows
        approved = client.post("/v1/recording-sessions:approve", json={"import_job_id": job_id})
        assert approved.json() == {"approved": 6}
        listed = client.get("/v1/recording-sessions", params={"import_job_id": job_id}).json()["data"]
        assert {(s["num_recordings"], s["import_job_id"], s["approval_status"]) for s in listed} == {
            (2, job_id, "approved")
        }
    assert (platform.rows(), platform.definitions()) == (rows, definitions)

    platform.execute("drop schema training cascade")
    assert (platform.rows(), platform.definitions()) == (rows, definitions)
    with platform.service() as client:
        assert len(client.get("/v1/recording-sessions").json()["data"]) == 6
    assert platform.rows() == rows


def test_a_dataset_frozen_from_the_platforms_recordings_reads_their_samples(platform):
    for number in range(6):
        source = platform.add_source(f"source-{number}", latitude=44.3 + 0.3 * number)
        platform.record_session(source, f"d{number}", 10 * number, approval_status="approved")
    with platform.service() as client:
        platform.take_over(client)
        answer = client.post("/v1/datasets", json={"name": "theirs", "split": {"strategy": "source"}})
        assert answer.status_code == 201, answer.text
        manifest = httpx.get(answer.json()["manifest"]["download_url"], trust_env=False).json()
    recordings = [r for session in manifest["sessions"] for r in session["recordings"]]
    assert len(recordings) == 12
    for recording in recordings:
        assert recording["format"] == "cf32_le"
        data = platform.store.get_bytes(
            recording["uri"], offset=recording["offset"], num_bytes=recording["num_bytes"]
        )
        assert hashlib.sha256(data).hexdigest() == recording["sha256"]
        assert np.frombuffer(data, np.complex64).shape == (8000,)


def test_a_session_shows_where_each_recording_can_be_fetched(platform):
    session_id = platform.add_session(platform.add_source(), "bare", 0)
    platform.record("sessions/bare/1.npy", "Genova", 0, bare=True)
    with platform.service() as client:
        platform.take_over(client)
        detail = client.get(f"/v1/recording-sessions/{session_id}").json()
    assert detail["archive"] is None
    (recording,) = detail["recordings"]
    assert (recording["receiver"], recording["snr_db"]) == ("Genova", None)
    data = httpx.get(recording["download_url"], trust_env=False).content
    piece = data[recording["offset"] : recording["offset"] + recording["num_bytes"]]
    assert hashlib.sha256(piece).hexdigest() == recording["sha256"]
    (line,) = platform.report["files"]
    assert line["status"] == "accepted"
    assert line["snr_db"] > 10


def test_every_recording_that_cannot_be_used_is_refused_by_name_and_the_rest_goes_on(platform):
    source = platform.add_source()
    platform.add_session(source, "good", 0)
    platform.record("r/good.npy", "Genova", 0)
    platform.record("r/again.npy", "Genova", 0, seconds=2)
    platform.record("r/gone.npy", "Torino", 0, data=b"")
    platform.add_session(source, "bad", 10)
    platform.record("r/count.npy", "Genova", 10, iq_samples_count=7999)
    platform.record("r/cut.npy", "Torino", 10, data=npy(1)[:-8])
    platform.record("r/text.npy", "Aquila di Giaveno", 10, data=b"hello")
    platform.add_session(source, "odd", 20)
    platform.record("r/flac.npy", "Genova", 20, iq_data_format="flac")
    platform.record("r/rate.npy", "Torino", 20, iq_sample_rate=None)
    platform.record("r/who.npy", "nobody", 20)
    platform.record("r/far.npy", "Aquila di Giaveno", 20, iq_data_location="s3://elsewhere/r/far.npy")
    platform.record("r/up.npy", "Aquila di Giaveno", 20, iq_data_location="r/../up.npy")
    with platform.service() as client:
        _, result = platform.take_over(client)
    assert result["accepted"] == 1
    assert codes(result) == {
        ("r/again.npy", "duplicate_receiver"),
        ("r/gone.npy", "missing_object"),
        ("r/count.npy", "samples_mismatch"),
        ("r/cut.npy", "truncated"),
        ("r/text.npy", "not_npy"),
        ("r/flac.npy", "unsupported_format"),
        ("r/rate.npy", "no_sample_rate"),
        ("r/who.npy", "no_receiver"),
        ("r/far.npy", "foreign_location"),
        ("r/../up.npy", "foreign_location"),
    }
    assert {line["file"] for line in platform.report["files"]} == {"r/good.npy"} | {
        name for name, _ in codes(result)
    }


def test_a_recording_that_fits_two_sessions_is_refused_and_one_that_names_its_session_is_not(platform):
    source = platform.add_source()
    twin = platform.add_source("same frequency", latitude=45.2)
    first = platform.add_session(source, "first", 0)
    second = platform.add_session(twin, "second", 0)
    platform.record("r/both.npy", "Genova", 0)
    platform.record("r/linked.npy", "Torino", 0)
    with platform.service() as client:
        platform.execute(
            "update heimdall.measurements set recording_session_id = cast(:id as uuid) "
            "where iq_data_location like '%linked.npy'",
            id=second,
        )
        _, result = platform.take_over(client, session_ids=[first, second])
        assert codes(result) == {("r/both.npy", "ambiguous_session"), ("first", "no_recordings")}
        assert result["accepted"] == 1
        detail = client.get(f"/v1/recording-sessions/{second}").json()
        assert [r["receiver"] for r in detail["recordings"]] == ["Torino"]


def test_what_lies_outside_of_time_or_channel_belongs_to_no_session(platform):
    source = platform.add_source()
    platform.add_session(source, "one", 0)
    platform.add_session(source, "next", 0.2, session_start=START + timedelta(seconds=10))
    platform.record("r/in.npy", "Genova", 0, seconds=10)
    platform.record("r/early.npy", "Torino", 0, seconds=-1)
    platform.record("r/channel.npy", "Torino", 0, frequency_hz=144_396_250)
    with platform.service() as client:
        _, result = platform.take_over(client)
        (listed,) = client.get(
            "/v1/recording-sessions", params={"started_after": "2025-09-01T08:00:05Z"}
        ).json()["data"]
    assert (result["accepted"], result["recordings"], codes(result)) == (1, 1, set())
    assert (listed["name"], listed["num_recordings"]) == ("next", 1)
    assert [warning["code"] for warning in result["warnings"]] == ["no_recordings"]


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"status": "failed"}, "session_failed"),
        ({"status": "in_progress"}, "session_not_finished"),
        ({"session_end": None, "duration_seconds": None}, "no_end"),
        ({"session_end": datetime(2999, 1, 1, tzinfo=UTC)}, "session_not_finished"),
        ({"known_source_id": None}, "no_source"),
    ],
)
def test_a_session_that_cannot_be_matched_is_told_by_name_or_by_number(platform, columns, code):
    session_id = platform.record_session(platform.add_source(), "s", 0, **columns)
    with platform.service() as client:
        _, result = platform.take_over(client)
        assert ([w["code"] for w in result["warnings"]], result["refused"]) == ([code], [])
        _, result = platform.take_over(client, session_ids=[session_id])
        assert (codes(result), result["accepted"]) == ({("s", code)}, 0)
        assert client.get(f"/v1/recording-sessions/{session_id}").status_code == 200


def test_a_session_is_taken_over_once_and_a_named_one_is_known_then(platform):
    session_id = platform.record_session(platform.add_source(), "s", 0)
    with platform.service() as client:
        _, first = platform.take_over(client)
        _, again = platform.take_over(client)
        job_id, named = platform.take_over(client, session_ids=[session_id])
        assert [(r["accepted"], r["duplicates"]) for r in (first, again, named)] == [(1, 0), (0, 0), (0, 1)]
        brought = client.get("/v1/recording-sessions", params={"import_job_id": job_id}).json()["data"]
    assert [session["id"] for session in brought] == [session_id]


def test_only_the_sessions_of_the_asked_time_are_taken_over(platform):
    source = platform.add_source()
    for number in range(4):
        platform.record_session(source, f"s{number}", 10 * number)
    times = {"started_after": "2025-09-01T08:10:00Z", "started_before": "2025-09-01T08:30:00"}
    with platform.service() as client:
        platform.take_over(client, **times)
        listed = client.get("/v1/recording-sessions", params=times).json()["data"]
        taken = [s for s in client.get("/v1/recording-sessions").json()["data"] if s["num_recordings"]]
    assert {s["name"] for s in listed} == {s["name"] for s in taken} == {"s1", "s2"}


def test_two_imports_at_once_describe_a_recording_once(platform):
    platform.record_session(platform.add_source(), "s", 0)
    with platform.service() as client:
        other = client.post("/v1/recording-sessions:import", json={}).json()["id"]
        _, late = platform.take_over(client, meanwhile=lambda: platform.work(other))
    assert (late["accepted"], late["duplicates"], late["session_count"], late["refused"]) == (0, 1, 1, [])


def test_a_measurement_that_changed_meanwhile_is_left_alone_and_told(platform):
    platform.record_session(platform.add_source(), "s", 0)
    with platform.service() as client:
        _, result = platform.take_over(
            client,
            meanwhile=lambda: platform.execute(
                "update heimdall.measurements set iq_sample_rate = 48000 where iq_data_location like '%Torino%'"
            ),
        )
    assert codes(result) == {("sessions/s/Torino.npy", "measurement_changed")}
    assert (result["accepted"], result["recordings"]) == (1, 1)
    rows = platform.execute("select iq_sha256 from heimdall.measurements where iq_sample_rate = 48000")
    assert rows == [(None,)]


def test_an_import_is_answered_once_and_refuses_what_it_cannot_mean(platform):
    session_id = platform.record_session(platform.add_source(), "s", 0)
    with platform.service() as client:
        path, unknown = "/v1/recording-sessions:import", str(UUID(int=1))
        first = client.post(path, json={}, headers={"Idempotency-Key": "k"})
        assert client.post(path, json={}, headers={"Idempotency-Key": "k"}).json() == first.json()
        for body, status, pointer in (
            ({"session_ids": [session_id, unknown]}, 404, "#/session_ids/1"),
            ({"session_ids": [session_id], "started_after": "2025-01-01T00:00:00Z"}, 422, "#/started_after"),
            ({"session_ids": []}, 422, "#/session_ids"),
            ({"all": True}, 422, "#/all"),
        ):
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (status, pointer)
        assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_sessions_of_a_source_that_nobody_knows_are_listed(platform):
    platform.add_session(None, "unknown source", 0, created_at=None, approval_status=None)
    platform.add_session(platform.add_source("half", frequency_hz=None, latitude=None), "half known", 10)
    with platform.service() as client:
        pages = [
            client.get("/v1/recording-sessions", params={"limit": 1, "approval_status": "pending"}).json()
        ]
        params = {"limit": 1, "approval_status": "pending", "cursor": pages[0]["next_cursor"]}
        pages.append(client.get("/v1/recording-sessions", params=params).json())
        by_source = client.get("/v1/recording-sessions", params={"source": "half"}).json()["data"]
    names = {session["name"]: session["source"] for page in pages for session in page["data"]}
    assert names["unknown source"] is None
    assert names["half known"]["latitude"] is None
    assert [session["name"] for session in by_source] == ["half known"]


def test_an_older_platform_gets_the_columns_that_are_read(platform):
    platform.execute("alter table heimdall.measurements drop column iq_data_format, drop column snr_db")
    platform.execute("alter table heimdall.recording_sessions drop column approval_status cascade")
    platform.add_session(platform.add_source(), "s", 0)
    with platform.service() as client:
        (listed,) = client.get("/v1/recording-sessions").json()["data"]
        assert listed["approval_status"] == "pending"
        _, result = platform.take_over(client)
    assert result["accepted"] == 0
