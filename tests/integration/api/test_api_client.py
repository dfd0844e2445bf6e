"""heimdall_client against the real API on a real port: the answers that it was written for are those that come."""

import asyncio
import hashlib
import inspect
import re
import threading
import time
from datetime import UTC, datetime

import httpx
import pytest
import uvicorn

from api.app import create_app
from api.services import Services
from heimdall_client import (
    AsyncHeimdallClient,
    Forbidden,
    HeimdallClient,
    HeimdallError,
    InvalidRequest,
    JobUnsuccessful,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)
from heimdall_client.operations.binding import Answering, Iterating
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Artifact, Job
from heimdall_core.jobs.events import record_event

JOB_ID = "job_" + "a" * 24
#: What an operation is called with where it needs something.
ARGUMENTS = {
    "job": JOB_ID,
    "jobs": [JOB_ID, JOB_ID],
    "spec": {"kind": "train"},
    "dataset": "northwest",
    "model": "localization/1",
    "source": JOB_ID,
    "name": "localization",
    "version": 1,
    "first": 1,
    "second": 2,
    "reason": "drift",
    "dedupe_key": "march",
    "latitude": 45.0,
    "longitude": 7.0,
    "files": [{"name": "a", "size": 1}],
    "upload": "upl_" + "a" * 24,
    "paths": ["."],
    "session_id": "8d9f6c1e-3c1f-4b8e-9a53-0d8f4e7b2a10",
    "approval_status": "approved",
    "scopes": ["jobs:read"],
    "key_id": "key_" + "a" * 24,
    "url": "https://example.org/",
    "endpoint_id": "whe_" + "a" * 24,
    "delivery_id": "whd_" + "a" * 24,
    "schedule_id": "sch_" + "a" * 24,
    "when": {"type": "new_sessions", "count": 5},
    "retrain": {"reason": "new recordings"},
    "score": 0.3,
}
#: Asked for inside other operations, or by other programs than this client.
ELSEWHERE = {
    ("get", "/livez"),
    ("get", "/metrics"),
    ("get", "/v1/jobs/{job_id}/artifacts/{name}"),
    ("get", "/v1/jobs/{job_id}/events/stream"),
    ("get", "/v1/events/stream"),
}


@pytest.fixture
def url(client):
    """Another application of the same services, behind a socket."""
    services = client.app.state.services
    app = create_app(
        Services(settings=client.settings, database=client.database, store=client.store, hints=services.hints)
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20.0
    while not server.started:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    app.state.events.end_all_soon()
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture
def key(client):
    return client.headers["Authorization"].removeprefix("Bearer ")


@pytest.fixture
def service(url, key):
    with HeimdallClient(url, key) as made:
        yield made


def end(client, job_id, status="succeeded", **values):
    """What a worker does last."""
    with client.database.transaction() as session:
        job = session.get(Job, job_id)
        job.status, job.revision, job.finished_at = status, job.revision + 1, datetime.now(UTC)
        for name, value in values.items():
            setattr(job, name, value)
        record_event(session, job, f"job.{status}")


def recorded(call, **given):
    """The first request that an operation makes."""
    found = []

    def note(request):
        found.append((request.method.lower(), request.url.path))
        return httpx.Response(418)

    with HeimdallClient("http://service.test", "hmd_k", transport=httpx.MockTransport(note)) as client:
        owner, _, name = call.rpartition(".")
        method = getattr(getattr(client, owner) if owner else client, name)
        needed = [
            p.name
            for p in inspect.signature(method).parameters.values()
            if p.default is inspect.Parameter.empty
        ]
        try:
            result = method(**{one: ARGUMENTS[one] for one in needed} | given)
            next(iter(result))
        except HeimdallError:
            pass
    return found[0]


def operations():
    with HeimdallClient("http://service.test", "hmd_k") as client:
        owners = {"": client, **{n: v for n, v in vars(client).items() if hasattr(v, "_shell")}}
        for prefix, owner in owners.items():
            for kind in type(owner).__mro__:
                for name, value in vars(kind).items():
                    if isinstance(value, Answering | Iterating):
                        yield f"{prefix}.{name}".strip(".")


def test_every_call_is_a_route_of_the_service_and_every_route_has_a_call(client):
    routes = {
        (method, path): re.compile(re.sub(r"\{[^}]+\}", "[^/:]+", path))
        for path, methods in client.app.openapi()["paths"].items()
        for method in methods
    }
    calls = [(call, {}) for call in sorted(set(operations()))]
    calls += [("models.version", {"version": 1}), ("datasets.get", {"version": 1})]
    local = {"request", "download", "recordings.upload", "recordings.import_platform"}
    called = set()
    for call, given in calls:
        if call in local:
            continue
        method, path = recorded(call, **given)
        matching = {
            route for route, pattern in routes.items() if route[0] == method and pattern.fullmatch(path)
        }
        assert matching, f"{call} asks for {method} {path}, which is no route"
        called |= matching
    called.add(("post", "/v1/recording-sessions:import"))
    assert set(routes) - called == ELSEWHERE & set(routes)


def test_a_training_is_submitted_steered_and_followed_to_its_end(client, service, dataset):
    job = service.jobs.train(
        "northwest", model={"backbone": "micro"}, training={"epochs": 2}, tags={"a": "b"}
    )
    assert (job.status, job.kind, job.spec["training"]["epochs"]) == ("queued", "train", 2)
    assert job.queue.position == 2, "after the import"
    assert service.jobs.update(job, priority="high", tags={"c": "d"}).priority == "high"
    with pytest.raises(PreconditionFailed):
        service.jobs.update(job, priority="low", if_match='"0"')
    events = service.jobs.watch(job)
    assert next(events).event == "job.queued"
    end(client, job.id, result={"metrics": {"median_error_m": 1.0}})
    assert [event.event for event in events][-1] == "job.succeeded"
    assert service.jobs.wait(job).result == {"metrics": {"median_error_m": 1.0}}
    told = list(service.jobs.events(job))
    assert list(service.jobs.watch(job, after=told[-1].id)) == []
    assert [event.id for event in service.jobs.watch(job, after=told[0].id)] == [e.id for e in told[1:]]


def test_both_clients_read_the_same(service, url, key, dataset):
    job = service.jobs.train("northwest/1", model={"backbone": "micro"}, idempotency_key="once")
    assert service.jobs.train("northwest/1", model={"backbone": "micro"}, idempotency_key="once") == job

    async def read():
        async with AsyncHeimdallClient(url, key) as other:
            found = [one async for one in other.jobs.list(kind="train", limit=5)]
            return found, await other.datasets.get("northwest"), await other.receivers.list()

    jobs, frozen, receivers = asyncio.run(read())
    assert jobs == list(service.jobs.list(kind="train", limit=5)) == [job]
    assert frozen.digest == service.datasets.get("northwest").digest
    assert receivers == service.receivers.list()


def test_a_watch_of_everything_tells_what_happens(client, service):
    client.import_sessions(range(1))
    events = service.events.watch(after="0")
    first = next(events)
    assert first.event.startswith("job.")
    assert first.job_id is not None
    events.close()


def test_an_upload_is_imported(client, service, tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.sigmf").write_bytes(client.archive_of(number))
    job = service.recordings.upload([tmp_path], auto_approve=True)
    assert (job.kind, job.status) == ("import", "queued")
    client.work(job.id)
    end(client, job.id)
    service.jobs.wait(job)
    sessions = list(service.recordings.list(approval_status="approved"))
    assert len(sessions) == 2
    assert service.recordings.get(sessions[0].id).recordings[0].receiver in {"turin", "aosta", "genoa"}


def test_a_jobs_file_is_downloaded_and_checked(client, service, tmp_path):
    job, data = service.jobs.get(client.import_sessions(range(1))), bytes(range(256)) * 500
    uri = f"s3://{client.settings.storage.models_bucket}/jobs/{job.id}/a1/model.onnx"
    client.store.put_bytes(uri, data)
    digest = hashlib.sha256(data).hexdigest()
    with client.database.transaction() as session:
        session.add(
            Artifact(
                id=new_id("art"),
                job_id=job.id,
                attempt=1,
                name="model.onnx",
                kind="onnx",
                uri=uri,
                sha256=digest,
                num_bytes=len(data),
                media_type="application/octet-stream",
                facts={},
            )
        )
    part = tmp_path / f".model.onnx.{digest[:16]}.part"
    part.write_bytes(data[:1000])
    assert service.jobs.download(job, "model.onnx", tmp_path).read_bytes() == data
    (artifact,) = service.jobs.artifacts(job)
    (tmp_path / "model.onnx").unlink()
    presigned = artifact.model_copy(update={"content_url": None})
    part.write_bytes(data[:1000])
    assert service.download(presigned, tmp_path).read_bytes() == data


def test_refusals_are_told_by_their_class(client, service, url, dataset):
    with pytest.raises(InvalidRequest) as wrong:
        service.jobs.train("northwest", training={"epochs": 0})
    assert wrong.value.errors[0].pointer == "#/training/epochs"
    assert wrong.value.request_id
    with pytest.raises(NotFound):
        service.jobs.get(JOB_ID)
    with HeimdallClient(url, "hmd_" + "x" * 40) as stranger, pytest.raises(Unauthenticated):
        stranger.queue()
    reader = client.make_key("jobs:read")["Authorization"].removeprefix("Bearer ")
    with HeimdallClient(url, reader) as bob, pytest.raises(Forbidden):
        bob.jobs.train("northwest")
    job = service.jobs.train("northwest")
    assert service.jobs.cancel(job).status == "cancelled"
    with pytest.raises(JobUnsuccessful):
        service.jobs.wait(job)


def test_what_surrounds_jobs_is_readable(service, dataset):
    validation = service.jobs.validate({"kind": "train", "dataset": {"name": "northwest"}})
    assert validation.valid
    pair = [service.jobs.train("northwest", training={"seed": seed}) for seed in (1, 2)]
    assert [d.pointer for d in service.jobs.compare(pair).differences] == ["/training/seed"]
    assert service.jobs.lineage(pair[0]).nodes
    assert service.queue().queued == 3
    assert service.workers.list() == []
    assert service.readiness().ready
    assert "admin" in service.whoami().scopes
    made = service.api_keys.create("ci", scopes=["jobs:read"])
    assert service.api_keys.revoke(made.id).status == "revoked"
    assert [entry.action for entry in service.audit(limit=2)]
    assert service.jobs.logs(pair[0]).content == ""
    assert service.jobs.metrics(pair[0]).metrics == {}
