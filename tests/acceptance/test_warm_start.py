"""A model that goes on learning on other receivers, over HTTP."""

import json
from typing import Any

import httpx
import pytest

from heimdall_core.simulation.sites import SITES

pytestmark = [pytest.mark.timeout(900)]

MODEL = "warm"
GONE = SITES[-1].receiver.name


@pytest.fixture(scope="module")
def champion(service: Any, dataset: dict[str, Any]) -> dict[str, Any]:
    """Trained on all seven receivers until it says more than a guess."""
    job: dict[str, Any] = service.finished(service.train(model=MODEL, epochs=25)["id"])
    assert job["result"]["model"] == {"name": MODEL, "version": 1}
    return job


@pytest.fixture(scope="module")
def fewer_receivers(service: Any, dataset: dict[str, Any]) -> dict[str, Any]:
    """The same sessions as six of the receivers heard them."""
    names = [site.receiver.name for site in SITES if site.receiver.name != GONE]
    query = {**dataset["query"], "receivers": names}
    body = {"name": "six", "query": query, "split": {"strategy": "spatial_block", "block_km": 20}}
    version: dict[str, Any] = service.post("/v1/datasets", body)
    return version


def train(service: Any, **body: Any) -> dict[str, Any]:
    job = {
        "kind": "train",
        "dataset": {"name": "six"},
        "model": {"name": MODEL, "backbone": "micro"},
        # So slow that the first validation judges what the training started from.
        "training": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-5},
        "register": {"enabled": False},
    }
    done: dict[str, Any] = service.finished(service.post("/v1/jobs", job | body)["id"])
    return done


def first_val_loss(service: Any, job: dict[str, Any]) -> float:
    points = service.get(f"/v1/jobs/{job['id']}/metrics")["metrics"]["val_loss"]
    return float(min(points, key=lambda point: point["step"])["value"])


def test_a_backbone_that_does_not_fit_is_refused_before_anything_is_queued(
    service: Any, champion: dict[str, Any]
) -> None:
    body = {"kind": "train", "dataset": {"name": "tiny"}, "init_from": {"name": MODEL}}
    answer = service.http.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "init_from_does_not_fit"
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/model/backbone"]


def test_on_one_receiver_fewer_it_begins_better_than_from_the_seed(
    service: Any, champion: dict[str, Any], fewer_receivers: dict[str, Any]
) -> None:
    cold, warm = train(service), train(service, init_from={"name": MODEL})
    assert warm["spec"]["init_from"] == {"name": MODEL, "version": 1}
    (started,) = [e["data"] for e in service.events(warm["id"]) if e["event"] == "warm_started"]
    assert (started["model"], started["version"]) == (MODEL, 1)
    assert (started["receivers_new"], started["receivers_gone"]) == ([], [GONE])
    assert 1 < started["origin_shift_km"] < 50
    assert first_val_loss(service, warm) < first_val_loss(service, cold) - 0.2
    artifacts = {a["name"]: a for a in service.get(f"/v1/jobs/{warm['id']}/artifacts")["data"]}
    provenance = json.loads(httpx.get(artifacts["manifest.json"]["download_url"]).content)
    assert (provenance["init_from"]["name"], provenance["init_from"]["version"]) == (MODEL, 1)


def test_a_retraining_may_start_from_the_champion(service: Any, champion: dict[str, Any]) -> None:
    call = {"reason": "test", "dedupe_key": "warm", "force": True, "warm_start": True}
    job = service.finished(service.post(f"/v1/models/{MODEL}:retrain", call)["id"])
    assert job["spec"]["init_from"] == {"name": MODEL, "version": 1}
    assert [e for e in service.events(job["id"]) if e["event"] == "warm_started"]
