"""A service has the champion trained again, over HTTP: the better one takes its place, the worse one does not."""

from typing import Any

import pytest

from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.world_a import simulate_sessions

pytestmark = [pytest.mark.timeout(600)]

MODEL = "retrained"
NUM_TEST, NUM_VAL, NUM_AT_FIRST, NUM_IN_ALL = 20, 20, 70, 120
#: Nothing is learned so: what comes of it knows little more than where the transmitters are on average.
BARELY = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-5}
PROPERLY = {"epochs": 30, "learning_rate": 1e-3}
CALL = {
    "reason": "drift: median error above 25 km",
    "dedupe_key": "drift-1",
    "overrides": {"training": PROPERLY},
}


@pytest.fixture(scope="module")
def recorded() -> list[RecordedSession]:
    return list(simulate_sessions(NUM_IN_ALL, seed=11))


@pytest.fixture(scope="module")
def session_ids(service: Any, recorded: list[RecordedSession]) -> list[str]:
    """Sessions in the catalogue, in the order of ``recorded``; nobody has approved one."""
    files = {f"{session.name}.sigmf": pack_session(session).data for session in recorded}
    job = service.finished(service.upload(files)["id"])
    found = service.get("/v1/recording-sessions", import_job_id=job["id"], limit=500)["data"]
    by_name = {session["name"]: session["id"] for session in found}
    return [by_name[session.name] for session in recorded]


@pytest.fixture(scope="module")
def first(service: Any, recorded: list[RecordedSession], session_ids: list[str]) -> dict[str, Any]:
    """Version 1, undertrained, of the sessions that were approved at first; it is the champion."""
    approve(service, session_ids[:NUM_AT_FIRST])
    sources = [session.source.name for session in recorded]
    split = {
        "strategy": "source",
        "test_groups": sources[:NUM_TEST],
        "val_groups": sources[NUM_TEST : NUM_TEST + NUM_VAL],
    }
    query = {"session_ids": session_ids}
    service.post("/v1/datasets", {"name": MODEL, "query": query, "split": split})
    body = {
        "kind": "train",
        "dataset": {"name": MODEL},
        "model": {"name": MODEL, "backbone": "micro"},
        "training": BARELY,
    }
    job: dict[str, Any] = service.finished(service.post("/v1/jobs", body)["id"])
    assert champion(service) == 1
    return job


@pytest.fixture(scope="module")
def better(service: Any, first: dict[str, Any], session_ids: list[str]) -> dict[str, Any]:
    """Version 2, properly trained on more sessions, that a service has asked for twice."""
    nothing = service.http.post(f"/v1/models/{MODEL}:retrain", json=CALL)
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_new")
    approve(service, session_ids[NUM_AT_FIRST:])
    early = service.http.post(f"/v1/models/{MODEL}:retrain", json=CALL | {"min_new_sessions": 1000})
    assert (early.status_code, early.json()["code"]) == (409, "too_few_new_sessions")
    asked, again = (service.post(f"/v1/models/{MODEL}:retrain", CALL) for _ in range(2))
    assert [asked["outcome"], again["outcome"]] == ["queued", "repeated"]
    assert asked["id"] == again["id"]
    assert (asked["new_sessions"], asked["withdrawn_sessions"]) == (NUM_IN_ALL - NUM_AT_FIRST, 0)
    return decided(service, asked["id"])


def approve(service: Any, ids: list[str]) -> None:
    service.post("/v1/recording-sessions:approve", {"ids": ids})


def champion(service: Any) -> int:
    return int(service.get(f"/v1/models/{MODEL}")["champion_version"])


def decided(service: Any, job_id: str) -> dict[str, Any]:
    """The version of the job, once it is known whether it became the champion."""
    number = service.finished(job_id)["result"]["model"]["version"]
    path = f"/v1/models/{MODEL}/versions/{number}"
    version: dict[str, Any] = service.get(path)
    for evaluation in version["promotion"].get("evaluation_job_ids") or ():
        service.finished(evaluation)
        version = service.get(path)
    return version


def test_the_better_challenger_becomes_the_champion(service: Any, better: dict[str, Any]) -> None:
    assert better["promotion"]["outcome"] == "promoted", better["promotion"]
    assert champion(service) == better["version"] == 2
    assert better["dataset"]["version"] == 2
    spec = service.get(f"/v1/jobs/{better['job_id']}")["spec"]
    assert (spec["training"]["epochs"], spec["training"]["batch_size"]) == (30, 16)
    (told,) = [e["data"] for e in service.events(better["job_id"]) if e["event"] == "retrain.requested"]
    assert (told["new_sessions"], told["dedupe_key"]) == (NUM_IN_ALL - NUM_AT_FIRST, "drift-1")


def test_the_worse_challenger_is_kept_out_and_the_former_champion_comes_back(
    service: Any, better: dict[str, Any]
) -> None:
    call = {"reason": "test", "dedupe_key": "worse", "force": True, "overrides": {"training": BARELY}}
    worse = decided(service, service.post(f"/v1/models/{MODEL}:retrain", call)["id"])
    assert worse["promotion"]["outcome"] == "refused"
    failed = {c["name"] for c in worse["promotion"]["verdict"]["checks"] if not c["passed"]}
    assert "median_error_m" in failed
    assert champion(service) == better["version"]
    service.post(f"/v1/models/{MODEL}:rollback", {"reason": "test"})
    assert champion(service) == 1
