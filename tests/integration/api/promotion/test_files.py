"""Files that a verdict needs: read while nothing is locked; lost, changed, or out of reach."""

import threading

import pytest
from sqlalchemy import select

from api.routes import model_promotion
from heimdall_core.database.catalogue_tables import Model
from heimdall_core.domain.errors import NotFound, StorageRefused, StorageUnavailable
from heimdall_core.domain.spec import DatasetRef, TrainJobSpec
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.publishing import publish_model
from heimdall_core.registry.reading import NotRead, ReadBefore
from tests.integration.api.promotion.registry import (
    MODEL,
    Away,
    aliases,
    failed,
    kinds,
    problem,
    promote,
    result_of,
)


def test_a_file_of_residuals_that_has_changed_is_not_believed(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    job_id = registry.evaluate(1, dataset=2, fitted=range(40))
    uri = f"s3://{client.settings.storage.models_bucket}/jobs/{job_id}/a1/residuals.json"
    client.store.put_bytes(uri, b'{"sessions": []}')
    problem(promote(client, 2), 503, "object_changed")
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 503, "object_changed")
    client.store.delete(uri)
    told = problem(promote(client, 2), 503, "object_gone")
    assert "evaluate the model version again" in told["hint"]
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 503, "object_gone")
    assert aliases(client) == (1, None)
    event = promote(client, 2, force=True, reason="the file is lost").json()["event"]
    assert (event["forced"], failed(event["verdict"])[0]) == (True, "same_test_split")


def test_a_lost_file_is_made_up_for_by_another_evaluation(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    registry.evaluate(1, dataset=2, fitted=range(40))
    lost = client.get(f"{MODEL}/versions/2").json()["job_id"]
    client.store.delete(f"s3://{client.settings.storage.models_bucket}/jobs/{lost}/a1/residuals.json")
    problem(promote(client, 2), 503, "object_gone")
    registry.evaluate(2, dataset=2, median_error_m=900.0)
    assert client.get(f"{MODEL}:compare?versions=1,2").json()["same_sessions"]["num_sessions"] == 20
    assert promote(client, 2).status_code == 200


def test_no_lock_is_held_while_the_object_store_is_read(client, registry, monkeypatch):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    registry.evaluate(1, dataset=2, fitted=range(40))
    read, get_bytes = [], client.store.get_bytes

    def watched(uri):
        with client.database.transaction() as session:
            session.scalars(select(Model).with_for_update(nowait=True)).all()
        read.append(uri)
        return get_bytes(uri)

    monkeypatch.setattr(client.store, "get_bytes", watched)
    headers = {"Idempotency-Key": '"k"'}
    first = client.post(f"{MODEL}/versions/2:promote", headers=headers)
    assert (first.status_code, len(read)) == (200, 2), first.text
    again = client.post(f"{MODEL}/versions/2:promote", headers=headers)
    assert (again.json(), len(read)) == (first.json(), 2)
    assert client.get(f"{MODEL}:compare?versions=1,2").status_code == 200


def test_a_caller_is_told_soon_that_the_object_store_stalls(client, registry, monkeypatch):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    registry.evaluate(1, dataset=2, fitted=range(40))
    go_on, get_bytes = threading.Event(), client.store.get_bytes

    def stalled(uri):
        assert go_on.wait(30)
        return get_bytes(uri)

    monkeypatch.setattr(model_promotion, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(client.store, "get_bytes", stalled)
    told = problem(promote(client, 2), 503, "storage_unavailable")
    assert "has not handed it out within 0.3 s" in told["detail"]
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 503, "storage_unavailable")
    assert aliases(client) == (1, None)
    go_on.set()
    assert promote(client, 2).status_code == 200


def test_a_job_ends_its_transaction_before_a_file_is_read(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    (job_id,) = client.get(f"{MODEL}/versions/2").json()["promotion"]["evaluation_job_ids"]
    store, num_fetched = ReadBefore(client.store), 0
    while True:
        try:
            settled = registry.finish(job_id, 1000.0, fitted=range(40), store=store)
        except NotRead as wanted:
            assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"
            wanted.fetch()
            num_fetched += 1
        else:
            break
    assert (settled, num_fetched) == (["localization/2"], 2)
    assert aliases(client) == (2, 1)


@pytest.mark.parametrize(
    "error", [NotFound("gone"), StorageUnavailable("away"), StorageRefused("no", code="storage_forbidden")]
)
def test_a_file_that_cannot_be_read_refuses_the_promotion_and_not_the_training(client, registry, error):
    registry.train(1000.0, promote="if_better")
    registry.evaluate(1, dataset=2, fitted=range(40))
    spec = TrainJobSpec(kind="train", dataset=DatasetRef(name="northwest", version=2))
    with client.database.transaction() as session:
        job = submit_job(session, spec, owner="ann")
        registry.add_residuals(session, job.id, scale=900.0)
        publish_model(
            session,
            job=job,
            name="localization",
            result=result_of(900.0, dataset=2),
            promote="if_better",
            gate=registry.gate(Away(error)),
        )
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], bool(promotion["reason"])) == ("refused", True)
    assert kinds(client)[-1] == ("promotion_refused", 2)


def test_an_outage_while_a_version_is_settled_has_the_evaluation_tried_again(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    (job_id,) = client.get(f"{MODEL}/versions/2").json()["promotion"]["evaluation_job_ids"]
    with pytest.raises(StorageUnavailable) as outage:
        registry.finish(job_id, 1000.0, fitted=range(40), store=Away(StorageUnavailable("away")))
    assert outage.value.to_info().retryable
    assert client.get(f"{MODEL}/versions/2").json()["promotion"]["outcome"] == "waits"
    assert registry.finish(job_id, 1000.0, fitted=range(40), store=Away(NotFound("gone"))) == [
        "localization/2"
    ]
    assert client.get(f"{MODEL}/versions/2").json()["promotion"]["outcome"] == "refused"
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded"
