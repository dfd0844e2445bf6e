"""The API over real engines, its hints counted instead of sent."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from api.app import create_app
from api.services import Services
from heimdall_core.accounts.keys import ensure_key
from heimdall_core.catalogue.import_publication import prepare_import
from heimdall_core.catalogue.import_running import run_import
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.session import IqRecording, ReceiverSite, RecordedSession, Source

ADMIN_KEY = "hmd_" + "a" * 40
START = datetime(2025, 5, 1, 12, tzinfo=UTC)
SITES = [
    ReceiverSite(name="turin", latitude=45.03, longitude=7.69, altitude_m=240.0),
    ReceiverSite(name="aosta", latitude=45.74, longitude=7.32, altitude_m=580.0),
    ReceiverSite(name="genoa", latitude=44.41, longitude=8.93, altitude_m=20.0),
]


class CountedHints:
    """Counts the hints and sends none."""

    def __init__(self):
        self.num_hints = 0
        self.wanted = []

    def start(self):
        pass

    def hint(self):
        self.num_hints += 1

    def ask_spectrogram(self, session_id, segment):
        self.wanted.append((session_id, segment))

    def close(self):
        pass


class QuietReporter:
    """Reports to nobody and never asks to stop."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def recorded_session(number):
    """One of several transmissions, each 30 km from the next."""
    rng = np.random.default_rng(number)
    latitude, longitude = 44.2 + 0.27 * (number % 6), 7.0 + 0.4 * (number // 6)
    source = Source(name=f"beacon-{number}", frequency_hz=145e6, latitude=latitude, longitude=longitude)
    started_at = START + timedelta(minutes=number)
    samples = (rng.normal(size=(3, 9000)) + 1j * rng.normal(size=(3, 9000))).astype(np.complex64) / 30
    recordings = tuple(
        IqRecording(
            receiver=site,
            samples=samples[index],
            sample_rate_hz=12_500.0,
            center_frequency_hz=145e6,
            started_at=started_at,
            noise_floor_dbfs=-40.0,
        )
        for index, site in enumerate(SITES)
    )
    return RecordedSession(
        name=f"session-{number}", source=source, started_at=started_at, recordings=recordings
    )


@pytest.fixture
def hints():
    return CountedHints()


@pytest.fixture
def app(settings, database, store, hints):
    with database.transaction() as session:
        ensure_key(session, ADMIN_KEY, owner="ann", name="test")
    return create_app(Services(settings=settings, database=database, store=store, hints=hints))


class ApiClient(TestClient):
    """A client that can add keys and stand in for a worker."""

    def make_key(self, *scopes, owner="bob", **options):
        key = "hmd_" + hashlib.sha256(f"{owner}{scopes}".encode()).hexdigest()
        with self.database.transaction() as session:
            ensure_key(session, key, owner=owner, name="test", scopes=scopes, **options)
        return {"Authorization": f"Bearer {key}"}

    def import_sessions(self, numbers, **options):
        """Uploads sessions, completes, and does what the worker would do; returns the job's id."""
        archives = {f"{n:03}.sigmf": self.archive_of(n) for n in numbers}
        files = [
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in archives.items()
        ]
        upload = self.post("/v1/uploads", json={"files": files}).json()
        for target in upload["files"]:
            httpx.put(target["url"], content=archives[target["name"]], trust_env=False).raise_for_status()
        answer = self.post(f"/v1/uploads/{upload['id']}:complete", json={"options": options})
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        self.result = self.work(job_id)
        return job_id

    def archive_of(self, number):
        """The archive of one of the sessions."""
        return pack_session(recorded_session(number)).data

    def work(self, job_id):
        """Does what a worker does with an import job; returns its result."""
        from heimdall_core.database.job_tables import Job

        with self.database.transaction() as session:
            inputs = session.get(Job, job_id).inputs
        storage = self.settings.storage
        found = run_import(
            inputs,
            store=self.store,
            reporter=QuietReporter(),
            output_uri=f"s3://{storage.models_bucket}/jobs/{job_id}/a1",
            recordings_uri=f"s3://{storage.raw_bucket}/recordings",
            resume_from=None,
        )
        self.report = json.loads(
            self.store.get_bytes(f"s3://{storage.models_bucket}/jobs/{job_id}/a1/import-report.json")
        )
        publish = prepare_import(inputs["options"], json.loads(self.store.get_bytes(found["findings_uri"])))
        with self.database.transaction() as session:
            return publish(session, session.get(Job, job_id))


@pytest.fixture
def client(app, settings, database, store):
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with capture_logs(), ApiClient(app, base_url="http://api.test", headers=headers) as client:
        client.settings, client.database, client.store = settings, database, store
        yield client


@pytest.fixture
def dataset(client):
    """Twelve approved sessions, frozen."""
    client.import_sessions(range(12), auto_approve=True)
    answer = client.post("/v1/datasets", json={"name": "northwest"})
    assert answer.status_code == 201, answer.text
    return answer.json()
