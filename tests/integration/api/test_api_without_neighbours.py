"""Redis, the object store and MLflow are away: what needs PostgreSQL alone goes on, and /readyz says what is missing."""

import socket
import time

import pytest
from structlog.testing import capture_logs

from api.app import create_app
from api.services import Services
from heimdall_core.accounts.keys import ensure_key
from heimdall_core.jobs.hints import HintPublisher
from heimdall_core.settings import RedisSettings, StorageSettings, TrackingSettings
from heimdall_core.storage import S3Store
from tests.integration.api.conftest import ADMIN_KEY, ApiClient
from tests.integration.api.test_api_contract import dataset_version

TRAIN = {"kind": "train", "dataset": {"name": "north"}, "model": {"backbone": "micro"}}
PROMPT_SECONDS = 5.0


@pytest.fixture
def nowhere():
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def deaf():
    """A port on which somebody listens who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["nowhere", "deaf"])
def alone(request, settings, database):
    """A service that has PostgreSQL and nothing else."""
    port = request.getfixturevalue(request.param)
    storage = settings.storage.model_dump() | {"endpoint_url": f"http://127.0.0.1:{port}"}
    changed = settings.model_copy(
        update={
            "redis": RedisSettings(url=f"redis://127.0.0.1:{port}/0"),
            "storage": StorageSettings(**storage),
            "tracking": TrackingSettings(uri=f"http://127.0.0.1:{port}"),
        }
    )
    with database.transaction() as session:
        ensure_key(session, ADMIN_KEY, owner="ann", name="test")
        session.add(dataset_version("north", "d" * 64, ["turin"]))
    services = Services(
        settings=changed,
        database=database,
        store=S3Store(changed.storage),
        hints=HintPublisher(changed.redis),
    )
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with capture_logs(), ApiClient(create_app(services), headers=headers) as client:
        yield client


def test_jobs_are_taken_and_read_and_what_is_missing_is_named(alone):
    began = time.monotonic()
    submitted = alone.post("/v1/jobs", json=TRAIN, headers={"Idempotency-Key": "once"})
    assert submitted.status_code == 202, submitted.text
    assert alone.post("/v1/jobs", json=TRAIN, headers={"Idempotency-Key": "once"}).json() == submitted.json()
    job = alone.get(submitted.headers["location"])
    assert (job.status_code, job.json()["status"]) == (200, "queued")
    unchanged = alone.get(submitted.headers["location"], headers={"If-None-Match": job.headers["etag"]})
    assert unchanged.status_code == 304
    assert alone.post("/v1/jobs:validate", json=TRAIN).json()["valid"] is True
    for path in ("/v1/jobs", "/v1/models", "/v1/datasets", "/v1/queue", "/v1/events?after=now"):
        assert alone.get(path).status_code == 200, path
    assert alone.post(f"/v1/jobs/{job.json()['id']}:cancel").json()["status"] == "cancelled"
    assert alone.get("/livez").status_code == 200
    assert time.monotonic() - began < PROMPT_SECONDS
    ready = alone.get("/readyz")
    assert ready.status_code == 200
    found = ready.json()
    missing = {name for name, state in found.items() if state in {"unavailable", "no_answer"}}
    assert (found["ready"], found["database"], missing) == (True, "ok", {"redis", "storage", "tracking"})
