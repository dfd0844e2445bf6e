"""What callers build on: preconditions, duplicates, validation, comparison, lineage, quotas, traces."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import event, func, select, update

from api.app import create_app
from api.schemas.jobs import JobDocument
from api.services import Services
from heimdall_core.database.catalogue_tables import DatasetVersion, Model, ModelVersion
from heimdall_core.database.job_tables import Job, JobAttempt, JobEvent, MetricPoint, Worker
from heimdall_core.settings import RateLimitSettings
from tests.integration.api.conftest import ApiClient

TRAIN = {"kind": "train", "dataset": {"name": "north"}, "model": {"backbone": "micro"}}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def north(client):
    """A dataset version of 80 training sessions, which nobody recorded."""
    separation = {"val": {"smallest_m": 0.0, "p10_m": 0.0, "median_m": 0.0, "shared_positions": 2}}
    with client.database.transaction() as session:
        session.add(dataset_version("north", "d" * 64, ["turin", "aosta"], {"separation": separation}))


def dataset_version(name, digest, receivers, statistics=None):
    return DatasetVersion(
        name=name,
        version=1,
        digest=digest,
        manifest_uri="s3://heimdall-models/d.json",
        manifest_sha256="e" * 64,
        counts={"train": 80, "val": 10, "test": 10, "recordings": 200, "units": 9, "statistics": statistics},
        receivers=[{"name": n, "latitude": 45.0, "longitude": 7.0, "altitude_m": 0.0} for n in receivers],
        query={},
        split={},
        created_by="tests",
    )


def submit(client, **part):
    answer = client.post("/v1/jobs", json=TRAIN | part)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def end(client, job_id, *, version=None, **values):
    """Does what a worker does: the job has succeeded, and registered a version."""
    result = None if version is None else {"model": {"name": "localization", "version": version}}
    ended = {"status": "succeeded", "started_at": func.now(), "finished_at": func.now(), "result": result}
    with client.database.transaction() as session:
        session.execute(
            update(Job).where(Job.id == job_id).values(revision=Job.revision + 1, **ended | values)
        )
        if version is not None:
            if session.get(Model, "localization") is None:
                session.add(Model(name="localization"))
                session.flush()
            session.add(model_version(job_id, version))


def model_version(job_id, version):
    return ModelVersion(
        name="localization",
        version=version,
        job_id=job_id,
        dataset_name="north",
        dataset_version=1,
        dataset_digest="d" * 64,
        onnx_uri="s3://heimdall-models/m.onnx",
        onnx_sha256="f" * 64,
        onnx_num_bytes=1,
        metrics={},
        created_by="ann",
    )


def count(client):
    with client.database.transaction() as session:
        return session.scalar(select(func.count()).select_from(Job))


def test_a_change_of_what_has_changed_since_is_refused_and_changes_nothing(client, north):
    job_id = submit(client)
    seen = client.get(f"/v1/jobs/{job_id}").headers["etag"]
    client.patch(f"/v1/jobs/{job_id}", json={"tags": {"a": "1"}})
    refused = client.patch(f"/v1/jobs/{job_id}", json={"priority": "high"}, headers={"If-Match": seen})
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert client.get(f"/v1/jobs/{job_id}").json()["priority"] == "normal"


@pytest.mark.parametrize(
    ("patch", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"priority": "urgent"}, 422, "invalid_request"),
        ({"status": "cancelled"}, 422, "invalid_request"),
        ({"tags": {str(n): "" for n in range(33)}}, 422, "invalid_request"),
        ({"tags": {"": "x"}}, 422, "invalid_request"),
    ],
)
def test_a_change_that_cannot_be_is_refused(client, north, patch, status, code):
    answer = client.patch(f"/v1/jobs/{submit(client)}", json=patch)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_tags_together_are_not_more_than_32(client, north):
    job_id = submit(client, tags={f"a{n}": "" for n in range(32)})
    answer = client.patch(f"/v1/jobs/{job_id}", json={"tags": {"b": ""}})
    assert answer.json()["errors"][0]["pointer"] == "#/tags"
    assert client.patch(f"/v1/jobs/{job_id}", json={"tags": {"b": "", "a0": None}}).status_code == 200


def test_an_ended_job_keeps_its_priority_and_can_be_tagged(client, north):
    job_id = submit(client)
    end(client, job_id)
    refused = client.patch(f"/v1/jobs/{job_id}", json={"priority": "high"})
    assert (refused.status_code, refused.json()["code"]) == (409, "job_already_ended")
    assert client.patch(f"/v1/jobs/{job_id}", json={"tags": {"a": "1"}}).json()["tags"] == {"a": "1"}


def test_another_owners_job_cannot_be_changed_even_by_who_sees_it(client, north):
    job_id = submit(client)
    bob = client.make_key("jobs:read:all", "jobs:write")
    assert client.get(f"/v1/jobs/{job_id}", headers=bob).status_code == 200
    assert client.patch(f"/v1/jobs/{job_id}", json={"priority": "low"}, headers=bob).status_code == 404


def test_a_change_moves_the_job_and_merges_its_tags(client, north):
    submit(client)
    job_id = submit(client, tags={"a": "1", "b": "2"})
    seen = client.get(f"/v1/jobs/{job_id}").headers["etag"]
    patch = {"priority": "high", "tags": {"b": None, "c": "3"}}
    answer = client.patch(f"/v1/jobs/{job_id}", json=patch, headers={"If-Match": seen})
    job = JobDocument.model_validate(answer.json())
    assert (job.priority, job.tags, job.queue.position) == ("high", {"a": "1", "c": "3"}, 1)
    assert answer.headers["etag"] != seen
    again = client.patch(f"/v1/jobs/{job_id}", json=patch)
    assert again.headers["etag"] == answer.headers["etag"]
    with client.database.transaction() as session:
        names = session.scalars(select(JobEvent.name).where(JobEvent.job_id == job_id).order_by(JobEvent.id))
        assert names.all() == ["job.queued", "job.changed"]


def test_two_at_once_that_return_duplicates_make_one_job(client, north):
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: client.post("/v1/jobs", json=TRAIN | {"on_duplicate": "return"}), range(6))
        )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert count(client) == 1


def test_a_duplicate_is_rejected_with_a_link(client, north):
    job_id = submit(client)
    waiting = client.post("/v1/jobs", json=TRAIN | {"on_duplicate": "reject"})
    assert (waiting.status_code, waiting.json()["code"]) == (409, "duplicate_job")
    assert waiting.json()["links"] == {"job": f"/v1/jobs/{job_id}"}
    end(client, job_id, version=4)
    trained = client.post("/v1/jobs", json=TRAIN | {"on_duplicate": "reject"}).json()
    assert trained["links"]["model_version"] == "/v1/models/localization/versions/4"
    assert count(client) == 1


def test_what_is_trained_already_is_answered_with_its_model_version(client, north, hints):
    job_id = submit(client, priority="low", tags={"a": "1"})
    end(client, job_id, version=4)
    before = hints.num_hints
    answer = client.post("/v1/jobs", json=TRAIN | {"on_duplicate": "return", "priority": "high"})
    assert (answer.status_code, answer.json()["id"]) == (200, job_id)
    assert answer.headers["duplicate-of"] == job_id
    assert answer.json()["result"]["model"] == {"name": "localization", "version": 4}
    assert hints.num_hints == before


@pytest.mark.parametrize("kept", ["seed", "failed", "cancelled", "finished early", "of another owner", "run"])
def test_what_is_no_duplicate_is_trained(client, north, kept):
    headers = client.make_key("jobs:write") if kept == "of another owner" else {}
    first = client.post("/v1/jobs", json=TRAIN).json()["id"]
    error = {"code": "x", "category": "bug", "message": "x", "retryable": False, "hint": None}
    changes = {
        "failed": {"status": "failed", "error": error},
        "cancelled": {"status": "cancelled"},
        "finished early": {"finish_requested_at": func.now()},
    }
    if kept in changes:
        end(client, first, **changes[kept])
    part = {"training": {"seed": 1}} if kept == "seed" else {}
    part |= {} if kept == "run" else {"on_duplicate": "return"}
    assert client.post("/v1/jobs", json=TRAIN | part, headers=headers).status_code == 202


def test_nothing_is_queued_by_a_validation_that_names_every_problem(client, north):
    body = TRAIN | {"dataset": {"name": "south"}, "model": {"backbone": "micro", "pretrained": True}}
    answer = client.post("/v1/jobs:validate", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert found["valid"] is False
    assert {p["pointer"] for p in found["problems"]} == {"#/dataset/name", "#/model/pretrained"}
    schema = client.post("/v1/jobs:validate", json=TRAIN | {"training": {"epochs": 0, "speed": 9}}).json()
    assert {p["pointer"] for p in schema["problems"]} == {"#/training/epochs", "#/training/speed"}
    assert client.post("/v1/jobs:validate", json=[]).status_code == 422
    assert count(client) == 0


def test_a_validation_without_history_says_that_it_knows_nothing(client, north):
    found = client.post("/v1/jobs:validate", json=TRAIN | {"training": {"batch_size": 100}}).json()
    assert found["valid"] is True
    codes = {warning["code"] for warning in found["warnings"]}
    assert codes == {"batch_exceeds_split", "positions_shared", "no_worker"}
    assert found["facts"]["dataset"]["sessions"] == {"train": 80, "val": 10, "test": 10}
    assert found["spec"]["dataset"] == {"name": "north", "version": 1}
    estimates = found["estimates"]
    assert (estimates["num_like_jobs"], estimates["duration_seconds"]) == (0, None)
    assert estimates["basis"] == "nothing"
    memory = estimates["memory"]
    assert (memory["basis"], memory["accelerator_bytes"], memory["largest_worker_bytes"]) == (
        "formula",
        None,
        None,
    )
    assert 6e8 < memory["host_bytes"]["p50"] < memory["host_bytes"]["p90"] < 4e9
    assert estimates["queue"]["position"] == 1
    assert count(client) == 0


def test_a_validation_learns_from_like_jobs_and_names_the_duplicate(client, north):
    job_id = submit(client)
    progress = {"samples_per_second": 80.0, "epoch": 100, "epochs": 100}
    began = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 110)
    end(client, job_id, version=1, progress=progress, started_at=began)
    longer = client.post("/v1/jobs:validate", json=TRAIN | {"training": {"epochs": 200}}).json()
    assert (longer["estimates"]["basis"], longer["estimates"]["num_like_jobs"]) == ("history", 1)
    assert longer["estimates"]["duration_seconds"] == {"p50": 210.0, "p90": 210.0}
    twin = client.post("/v1/jobs:validate", json=TRAIN | {"on_duplicate": "reject"}).json()
    assert [problem["code"] for problem in twin["problems"]] == ["duplicate_job"]
    assert twin["facts"]["duplicate_of"]["job_id"] == job_id


def end_attempt(client, job_id, **facts):
    with client.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(attempt=1))
        began = {"worker": "w1", "host": "a", "boot_id": "b", "outcome": "succeeded"}
        session.add(JobAttempt(job_id=job_id, number=1, ended_at=func.now(), **began | facts))


def add_worker(client, *, accelerator, memory_bytes):
    facts = {"host": "a", "boot_id": "b", "pid": 1, "slots": 1}
    with client.database.transaction() as session:
        session.add(Worker(name="w1", accelerator=accelerator, memory_bytes=memory_bytes, **facts))


def validate(client, **members):
    found = client.post("/v1/jobs:validate", json=TRAIN | members).json()
    return found["estimates"], {warning["code"]: warning for warning in found["warnings"]}


def test_memory_is_estimated_by_the_peaks_of_trainings_of_the_same_shape_alone(client, north):
    job_id = submit(client)
    progress = {"samples_per_second": 80.0, "epoch": 100, "epochs": 100}
    end(client, job_id, version=1, progress=progress)
    end_attempt(client, job_id, peak_host_bytes=3_000_000_000, seconds_per_epoch=4.0)
    attempt = client.get(f"/v1/jobs/{job_id}").json()["attempts"][0]
    assert (attempt["peak_host_bytes"], attempt["seconds_per_epoch"]) == (3_000_000_000, 4.0)
    same, _ = validate(client)
    assert (same["memory"]["basis"], same["memory"]["num_like_jobs"]) == ("history", 1)
    assert same["memory"]["host_bytes"] == {"p50": 3e9, "p90": 3e9}
    assert same["seconds_per_epoch"] == {"p50": 4.0, "p90": 4.0}
    for other in ({"batch_size": 64}, {"precision": "bf16"}):
        assert validate(client, training=other)[0]["memory"]["basis"] == "formula"


def test_a_network_that_nobody_trained_is_timed_by_others_and_widely(client, north):
    job_id = submit(client)
    end(client, job_id, version=1, progress={"samples_per_second": 80.0, "epoch": 100, "epochs": 100})
    found, _ = validate(client, model={"backbone": "atto"})
    assert (found["basis"], found["num_like_jobs"]) == ("other_networks", 0)
    epoch = found["seconds_per_epoch"]
    assert 5.0 < epoch["p50"] < 15.0
    assert epoch["p90"] == pytest.approx(3 * epoch["p50"], rel=0.01)


@pytest.mark.parametrize(
    ("accelerator", "gigabytes", "code"),
    [
        ("cpu", 1, "memory_exceeds_workers"),
        ("cpu", 10, "memory_may_exceed_workers"),
        ("cpu", 64, None),
        ("1 gpu", 4, "memory_exceeds_workers"),
        ("1 gpu", 80, None),
    ],
)
def test_a_training_that_no_worker_can_hold_is_warned_of(client, north, accelerator, gigabytes, code):
    add_worker(client, accelerator=accelerator, memory_bytes=gigabytes * 10**9)
    found, warnings = validate(client, model={"backbone": "large"}, training={"batch_size": 128})
    memory = found["memory"]
    assert memory["largest_worker_bytes"] == gigabytes * 10**9
    assert (memory["accelerator_bytes"] is None) == (accelerator == "cpu")
    assert {name for name in warnings if name.startswith("memory")} == ({code} if code else set())
    if code:
        assert f"{gigabytes}.0 GB" in warnings[code]["detail"]


def test_a_validation_holds_the_receivers_against_those_of_the_start(client, north):
    end(client, submit(client, register={"enabled": True, "promote": "never"}), version=1)
    with client.database.transaction() as session:
        session.add(dataset_version("south", "c" * 64, ["turin", "genoa"]))
        weights = {"weights": {"uri": "s3://b/k", "sha256": "1", "num_bytes": 1}}
        train = {"kind": "export", "inputs": {**weights, "train_spec": TRAIN, "train_job_id": "job_1"}}
        session.execute(update(Job).values(**train))
    body = TRAIN | {"dataset": {"name": "south"}, "init_from": {"name": "localization"}}
    found = client.post("/v1/jobs:validate", json=body).json()
    assert found["problems"] == []
    facts = found["facts"]["init_from"]
    assert (facts["receivers_new"], facts["receivers_gone"]) == (["genoa"], ["aosta"])
    assert "receivers_differ" in {warning["code"] for warning in found["warnings"]}


@pytest.mark.parametrize("ids", ["", "one", "same,same", ",".join("abcdefghi")])
def test_too_few_too_many_or_the_same_jobs_are_not_compared(client, north, ids):
    job_id = submit(client)
    answer = client.get("/v1/jobs:compare", params={"ids": ids.replace("same", job_id)})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_another_owners_job_is_not_compared(client, north):
    ids = f"{submit(client)},{submit(client)}"
    answer = client.get("/v1/jobs:compare", params={"ids": ids}, headers=client.make_key("jobs:read"))
    assert answer.json()["code"] == "job_not_found"


def test_a_comparison_shows_differences_and_thinned_curves(client, north):
    first, second = submit(client), submit(client, training={"epochs": 3})
    with client.database.transaction() as session:
        session.add_all(
            MetricPoint(job_id=first, name="loss", step=step, epoch=0, value=float(step), attempt=1)
            for step in range(100)
        )
        session.add(MetricPoint(job_id=second, name="loss", step=1, epoch=0, value=float("nan"), attempt=1))
    query = {"ids": f"{first},{second}", "max_points": 10}
    found = client.get("/v1/jobs:compare", params=query).json()
    assert [job["id"] for job in found["jobs"]] == [first, second]
    assert found["differences"] == [{"pointer": "/training/epochs", "values": [100, 3]}]
    assert [point["step"] for point in found["curves"]["loss"][first]] == list(range(9, 100, 10))
    assert found["curves"]["loss"][second] == [{"step": 1, "epoch": 0, "value": None}]


def test_lineage_leads_from_the_dataset_to_what_was_made_of_the_version(client, north):
    first = submit(client)
    end(client, first, version=1)
    retried = client.post(f"/v1/jobs/{first}:retry").json()["id"]
    evaluated = {
        "kind": "evaluate",
        "model": {"name": "localization", "version": 1},
        "dataset": {"name": "north"},
    }
    evaluation = client.post("/v1/jobs", json=evaluated).json()["id"]
    found = client.get(f"/v1/jobs/{retried}/lineage").json()
    assert {node["id"] for node in found["nodes"]} == {
        f"job:{first}",
        f"job:{retried}",
        "dataset_version:north/1",
    }
    of_version = client.get("/v1/models/localization/versions/1/lineage").json()
    edges = {(edge["source"], edge["target"], edge["relation"]) for edge in of_version["edges"]}
    assert edges == {
        ("dataset_version:north/1", f"job:{first}", "dataset"),
        (f"job:{first}", "model_version:localization/1", "registered"),
        ("model_version:localization/1", f"job:{evaluation}", "evaluated"),
    }
    assert found["is_truncated"] is False


def test_lineage_names_other_owners_jobs_and_does_not_tell_them(client, north):
    end(client, submit(client), version=1)
    bob = client.make_key("models:read", "jobs:read")
    nodes = client.get("/v1/models/localization/versions/1/lineage", headers=bob).json()["nodes"]
    (job,) = [node for node in nodes if node["type"] == "job"]
    assert (job["status"], job["link"]) == (None, None)
    assert client.get("/v1/models/localization/versions/9/lineage").status_code == 404


@pytest.mark.parametrize(
    "path", ["/v1/models/localization", "/v1/models/localization/versions/1", "/v1/datasets/plain/versions/1"]
)
def test_an_unchanged_resource_costs_a_304(client, north, path):
    with client.database.transaction() as session:
        session.add(dataset_version("plain", "c" * 64, ["turin"]))
    end(client, submit(client), version=1)
    first = client.get(path)
    same = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"other"'}).json() is not None


def test_a_poll_of_an_unchanged_job_is_one_statement(client, north):
    job_id = submit(client)
    end(client, job_id)
    etag = client.get(f"/v1/jobs/{job_id}").headers["etag"]
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(client.database.engine, "before_cursor_execute", note)
    try:
        polled = client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})
    finally:
        event.remove(client.database.engine, "before_cursor_execute", note)
    assert polled.status_code == 304
    assert len(statements) == 1
    assert client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": '"0"'}).status_code == 200


def test_positions_in_a_burst_count_one_by_one(client, north):
    answers = [client.post("/v1/jobs", json=TRAIN).json() for _ in range(4)]
    assert [answer["queue"]["position"] for answer in answers] == [1, 2, 3, 4]


def test_all_processes_share_a_quota_and_a_304_costs_nothing(settings, database, store, hints, client, north):
    job_id = submit(client)
    limited = settings.model_copy(update={"rate_limit": RateLimitSettings(requests=4, window_seconds=3600)})
    services = Services(settings=limited, database=database, store=store, hints=hints)
    headers = client.make_key("jobs:read:all", owner=uuid4().hex)
    statuses = []
    for _ in range(2):
        with ApiClient(create_app(services), base_url="http://api.test", headers=headers) as process:
            etag = process.get(f"/v1/jobs/{job_id}").headers["etag"]
            polled = process.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})
            statuses += [polled.status_code, process.get("/v1/queue").status_code]
    assert statuses == [304, 200, 304, 200]
    with ApiClient(create_app(services), base_url="http://api.test", headers=headers) as process:
        answers = [process.get("/v1/queue") for _ in range(4)]  # the first tells the process whose key it is
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "quota_exceeded"


def test_a_job_carries_the_trace_of_its_request_to_its_claim(client, north, database):
    from heimdall_core.jobs.claiming import WorkerIdentity, claim_job

    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
    answer = client.post("/v1/jobs", json=TRAIN, headers=headers)
    assert answer.json()["trace_id"] == TRACE
    worker = WorkerIdentity(name="w@a", host="a", boot_id="b", has_gpu=False)
    with database.transaction() as session:
        claim = claim_job(session, worker, lease_seconds=60)
    assert claim.trace.traceparent == answer.headers["traceparent"]
    assert (claim.trace.trace_id, claim.trace.state) == (TRACE, "vendor=1")
