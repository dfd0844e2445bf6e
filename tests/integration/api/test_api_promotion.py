"""Compare, promote, roll back, and the history of it, over HTTP."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sqlalchemy import func, select, update

from heimdall_core.database.catalogue_tables import DatasetVersion, Model, ModelEvent, ModelVersion
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Artifact, Job, Outbox
from heimdall_core.domain.errors import (
    DataError,
    InvalidRequest,
    NotFound,
    StorageRefused,
    StorageUnavailable,
)
from heimdall_core.domain.spec import (
    DatasetRef,
    EvaluateJobSpec,
    ExportJobSpec,
    ExportSource,
    ModelRef,
    TrainJobSpec,
)
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.automatic_promotion import refuse_abandoned, settle_waiting
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model
from heimdall_core.registry.reading import NotRead, ReadBefore
from worker.control import ControlPlane, refuse_unmeasured
from worker.publishing import measure
from worker.reaper_hold import ReaperHold

MODEL = "/v1/models/localization"
VERIFIED = {"passed": True, "mean_difference": 1e-7, "tolerance": 1e-5}
NUM_SESSIONS = 60


class Registry:
    """Trainings and evaluations that have ended, without a trainer."""

    def __init__(self, client):
        self.client, self.database, self.store = client, client.database, client.store

    def gate(self, store=None):
        return Gate(policy=self.client.settings.promotion, store=store or self.store, measure=measure)

    def add_datasets(self, count):
        with self.database.transaction() as session:
            session.add_all(
                DatasetVersion(
                    name="northwest",
                    version=version,
                    digest=f"digest {version}",
                    manifest_uri="s3://b/m.json",
                    manifest_sha256="0" * 64,
                    counts={},
                    receivers=[],
                    query={},
                    split={},
                    created_by="ann",
                )
                for version in range(1, count + 1)
            )

    def train(self, median_error_m=1000.0, *, dataset=1, promote="never", init_from=None, **changes):
        """Registers a version of a new training; returns its number."""
        spec = TrainJobSpec(
            kind="train", dataset=DatasetRef(name="northwest", version=dataset), init_from=init_from
        )
        return self._publish(spec, result_of(median_error_m, dataset=dataset, **changes), promote)

    def export(self, version, *, promote="never"):
        spec = ExportJobSpec(
            kind="export", source=ExportSource(model=ModelRef(name="localization", version=version))
        )
        return self._publish(spec, result_of(1000.0), promote)

    def _publish(self, spec, result, promote):
        with self.database.transaction() as session:
            job = submit_job(session, spec, owner="ann")
            self.add_residuals(session, job.id, scale=result["metrics"]["median_error_m"])
            add_artifact(session, job.id, "best.ckpt", "s3://heimdall-models/best.ckpt", b"")
            made = publish_model(
                session, job=job, name="localization", result=result, promote=promote, gate=self.gate()
            )
            end(session, job.id, result)
        return made["version"]

    def evaluate(self, version, *, dataset, median_error_m=1000.0, fitted=(), **changes):
        """An evaluate job of a version that has ended; returns its id."""
        spec = EvaluateJobSpec(
            kind="evaluate",
            model=ModelRef(name="localization", version=version),
            dataset=DatasetRef(name="northwest", version=dataset),
        )
        with self.database.transaction() as session:
            job_id = submit_job(session, spec, owner="ann").id
        self.finish(job_id, median_error_m, fitted=fitted, **changes)
        return job_id

    def finish(self, job_id, median_error_m, *, fitted=(), store=None, **changes):
        """Ends an evaluate job as a worker does."""
        result = result_of(median_error_m, **changes) | {
            "report": {"num_sessions": NUM_SESSIONS},
            "sessions_left_out": 0,
            "sessions_trained_on": len(fitted),
        }
        with self.database.transaction() as session:
            job = session.get_one(Job, job_id)
            self.add_residuals(session, job_id, scale=median_error_m, fitted=fitted)
            settled = settle_waiting(session, job, result, self.gate(store))
            end(session, job_id, result)
        return settled

    def freeze(self, dataset, *, trained_on):
        """Gives a dataset version a manifest whose training split is these sessions."""
        rows = [
            {"id": f"s{number:03}", "split": "train" if number in trained_on else "test"}
            for number in range(NUM_SESSIONS)
        ]
        uri = f"s3://{self.client.settings.storage.models_bucket}/datasets/northwest/{dataset}.json"
        stored = self.store.put_bytes(uri, json.dumps({"sessions": rows}).encode())
        place = {"manifest_uri": uri, "manifest_sha256": stored.sha256}
        with self.database.transaction() as session:
            session.execute(update(DatasetVersion).where(DatasetVersion.version == dataset).values(place))

    def add_residuals(self, session, job_id, *, scale, fitted=()):
        data = json.dumps({"sessions": residual_rows(scale, fitted)}).encode()
        uri = f"s3://{self.client.settings.storage.models_bucket}/jobs/{job_id}/a1/residuals.json"
        self.store.put_bytes(uri, data)
        add_artifact(session, job_id, "residuals.json", uri, data)


def residual_rows(scale, fitted=()):
    """Test sessions whose errors have nearly the same spread for every model, times ``scale``."""
    rng = np.random.default_rng(7)
    return [
        {
            "session_id": f"s{number:03}",
            "split": "test",
            "trained_on": number in fitted,
            "error_m": 1.0 if number in fitted else scale * float(error),
            "sigma_east_m": scale,
            "sigma_north_m": scale,
            "correlation": 0.0,
            "squared_mahalanobis": float(error) ** 2,
        }
        for number, error in enumerate(rng.uniform(0.5, 1.5, NUM_SESSIONS))
    ]


def result_of(median_error_m, *, dataset=1, verification=VERIFIED, exports=(), **metrics):
    values = {"median_error_m": median_error_m, "nll_per_m2": 17.0, "coverage_68": 0.68} | metrics
    return {
        "metrics": values,
        "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
        "verification": verification,
        "exports": list(exports),
        "dataset": {"name": "northwest", "version": dataset, "num_sessions": {"test": NUM_SESSIONS}},
    }


def add_artifact(session, job_id, name, uri, data):
    session.add(
        Artifact(
            id=new_id("art"),
            job_id=job_id,
            attempt=1,
            name=name,
            kind="report",
            uri=uri,
            sha256=hashlib.sha256(data).hexdigest(),
            num_bytes=len(data),
            media_type="application/octet-stream",
        )
    )
    session.flush()


def end(session, job_id, result):
    times = {"status": "succeeded", "started_at": func.now(), "finished_at": func.now()}
    session.execute(update(Job).where(Job.id == job_id).values(**times, result=result))


@pytest.fixture
def registry(client):
    registry = Registry(client)
    registry.add_datasets(2)
    return registry


def aliases(client):
    model = client.get(MODEL).json()
    return model["champion_version"], model["previous_version"]


def promote(client, version, **body):
    return client.post(f"{MODEL}/versions/{version}:promote", json=body)


def problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()


def events(client):
    return client.get(f"{MODEL}/events").json()["data"]


def kinds(client):
    return [(event["event"].removeprefix("model."), event["version"]) for event in events(client)]


def failed(verdict):
    return [check["name"] for check in verdict["checks"] if not check["passed"]]


def test_what_does_not_exist_cannot_be_promoted_or_rolled_back(client, registry):
    problem(promote(client, 1), 404, "model_not_found")
    problem(client.post(f"{MODEL}:rollback"), 404, "model_not_found")
    problem(client.get(f"{MODEL}/events"), 404, "model_not_found")
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 404, "model_not_found")
    registry.train()
    problem(promote(client, 2), 404, "model_version_not_found")
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 404, "model_version_not_found")
    assert aliases(client) == (None, None)


def test_only_a_key_that_may_promote_does(client, registry):
    registry.train()
    reader = client.make_key("models:read", "jobs:write")
    for path in (f"{MODEL}/versions/1:promote", f"{MODEL}:rollback"):
        problem(client.post(path, headers=reader), 403, "missing_scope")
    promoter = client.make_key("models:promote", owner="ops")
    assert client.post(f"{MODEL}/versions/1:promote", headers=promoter).status_code == 200
    problem(client.get(f"{MODEL}/events", headers=promoter), 403, "missing_scope")
    assert events(client)[-1]["actor"] == "ops"


def test_what_was_not_verified_is_not_registered(client, registry):
    for verification in (None, {}, {"passed": False}):
        with pytest.raises(DataError) as refusal:
            registry.train(verification=verification)
        assert refusal.value.stable_code == "not_verified"
    assert client.get("/v1/models").json()["data"] == []


def test_what_was_not_verified_is_not_promoted_even_by_force(client, registry):
    registry.train()
    with client.database.transaction() as session:
        session.execute(update(ModelVersion).values(verification=None))
    told = problem(promote(client, 1, force=True, reason="urgent"), 409, "not_verified")
    assert "export" in told["hint"].lower()
    assert aliases(client) == (None, None)
    assert kinds(client) == [("registered", 1)]


WRONG_BODIES = [
    ({"force": True}, "#/reason"),
    ({"force": True, "reason": ""}, "#/reason"),
    ({"force": True, "reason": "   "}, "#/reason"),
    ({"reason": "x" * 501}, "#/reason"),
    ({"because": "x"}, "#/because"),
]


def test_a_wrong_field_is_named(client, registry):
    registry.train()
    for body, pointer in WRONG_BODIES:
        answer = promote(client, 1, **body)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert aliases(client) == (None, None)


def test_a_worse_version_is_kept_out_with_the_verdict_check_by_check(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(1300.0, nll_per_m2=18.0, coverage_68=0.1)
    told = problem(promote(client, 2), 409, "promotion_refused")
    verdict = told["verdict"]
    assert not verdict["passed"]
    assert verdict["champion_version"] == 1
    assert verdict["dataset"]["digest"] == "digest 1"
    assert failed(verdict) == ["median_error_m", "nll_per_m2", "coverage_68"]
    assert {"challenger": 1300.0, "champion": 1000.0, "limit": 1000.0}.items() <= verdict["checks"][2].items()
    assert verdict["checks"][0]["limit"] is None
    assert "median_error_m: 1,300 m against 1,000 m" in told["detail"]
    assert "force" in told["hint"]
    assert aliases(client) == (1, None)


def test_the_file_that_is_served_is_judged_and_not_the_network_alone(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(990.0, verification=VERIFIED | {"median_error_change": 0.02, "nll_change": 0.1})
    verdict = problem(promote(client, 2), 409, "promotion_refused")["verdict"]
    assert failed(verdict) == ["median_error_m", "nll_per_m2"]
    assert verdict["checks"][2]["challenger"] == pytest.approx(1009.8)
    assert verdict["checks"][3]["challenger"] == pytest.approx(17.1)


def test_force_overrides_the_gate_and_is_recorded(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(1300.0)
    answer = promote(client, 2, force=True, reason="checked by hand")
    assert answer.status_code == 200
    assert aliases(client) == (2, 1)
    event = answer.json()["event"]
    assert (event["forced"], event["reason"], event["actor"]) == (True, "checked by hand", "ann")
    assert (event["former_version"], event["version"]) == (1, 2)
    assert failed(event["verdict"]) == ["median_error_m"]
    assert events(client)[-1] == event


def test_force_that_was_not_needed_is_not_recorded_as_such(client, registry):
    registry.train(1000.0)
    assert promote(client, 1, force=True, reason="sure").json()["event"]["forced"] is False


def test_other_test_sessions_are_refused_until_the_evaluate_job_that_is_named_has_run(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    told = problem(promote(client, 2), 409, "promotion_refused")
    assert failed(told["verdict"]) == ["same_test_split", "median_error_m", "nll_per_m2"]
    (body,) = told["verdict"]["evaluate"]
    job = client.post("/v1/jobs", json=body)
    assert job.status_code == 202, job.text
    registry.finish(job.json()["id"], 1000.0, dataset=2)
    answer = promote(client, 2)
    assert answer.status_code == 200, answer.text
    assert answer.json()["event"]["verdict"]["dataset"] == {
        "name": "northwest",
        "version": 2,
        "digest": "digest 2",
    }
    assert aliases(client) == (2, 1)


def test_sessions_that_the_champion_was_fitted_to_do_not_count(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    # Of these its errors are 1 m: with them its median would beat the challenger's.
    registry.evaluate(1, dataset=2, median_error_m=1000.0, fitted=range(40))
    event = promote(client, 2).json()["event"]
    assert event["verdict"]["num_sessions"] == NUM_SESSIONS - 40
    assert aliases(client) == (2, 1)


def test_no_session_that_is_new_to_both_is_no_comparison(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    registry.evaluate(1, dataset=2, fitted=range(NUM_SESSIONS))
    told = problem(promote(client, 2), 409, "promotion_refused")
    assert "same_test_split" in failed(told["verdict"])
    assert told["verdict"]["evaluate"] == []


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


def test_promoting_the_champion_changes_nothing(client, registry):
    registry.train(promote="if_better")
    answer = promote(client, 1)
    assert (answer.status_code, answer.json()["changed"], answer.json()["event"]) == (200, False, None)
    assert aliases(client) == (1, None)
    assert kinds(client) == [("registered", 1), ("promoted", 1)]


def test_a_rollback_without_a_previous_version_is_a_conflict(client, registry):
    registry.train()
    problem(client.post(f"{MODEL}:rollback"), 409, "no_previous_version")
    promote(client, 1)
    problem(client.post(f"{MODEL}:rollback"), 409, "no_previous_version")
    assert aliases(client) == (1, None)


def test_a_rollback_swaps_champion_and_previous(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    assert aliases(client) == (2, 1)
    answer = client.post(f"{MODEL}:rollback", json={"reason": "wrong at Aosta", "champion_version": 2})
    assert answer.status_code == 200, answer.text
    assert aliases(client) == (1, 2)
    event = answer.json()["event"]
    assert (event["event"], event["version"], event["former_version"]) == ("model.rolled_back", 1, 2)
    assert event["reason"] == "wrong at Aosta"
    names = {v["version"]: v["aliases"] for v in client.get(f"{MODEL}/versions").json()["data"]}
    assert names == {1: ["champion"], 2: ["previous"]}
    client.post(f"{MODEL}:rollback")
    assert aliases(client) == (2, 1)


def test_a_rollback_of_another_champion_than_the_caller_saw_does_nothing(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    problem(client.post(f"{MODEL}:rollback", json={"champion_version": 1}), 409, "champion_changed")
    assert aliases(client) == (2, 1)


def test_an_idempotency_key_gets_the_first_answer_again(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    headers = {"Idempotency-Key": '"k"'}
    first = client.post(f"{MODEL}:rollback", headers=headers)
    again = client.post(f"{MODEL}:rollback", headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert aliases(client) == (1, 2), "it was rolled back once"
    problem(client.post(f"{MODEL}/versions/2:promote", headers=headers), 422, "idempotency_key_reused")


def test_a_refusal_is_not_kept_for_the_key(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    headers = {"Idempotency-Key": '"k"'}
    path = f"{MODEL}/versions/2:promote"
    problem(client.post(path, headers=headers), 409, "promotion_refused")
    registry.evaluate(1, dataset=2, median_error_m=1000.0)
    assert client.post(path, headers=headers).status_code == 200


def test_promotions_at_once_leave_one_chain_of_champions(client, registry):
    registry.train(promote="if_better")
    for _ in range(4):
        registry.train()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda version: promote(client, version), range(2, 6)))
    assert [answer.status_code for answer in answers] == [200] * 4
    chain = [(e["former_version"], e["version"]) for e in events(client) if e["event"] == "model.promoted"]
    assert chain[0] == (None, 1)
    assert all(later[0] == earlier[1] for earlier, later in pairwise(chain))
    assert aliases(client) == (chain[-1][1], chain[-1][0])


def test_rollbacks_at_once_of_one_champion_swap_once(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    body = {"champion_version": 2}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(f"{MODEL}:rollback", json=body), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert aliases(client) == (1, 2)


def test_a_job_promotes_through_the_same_gate_and_a_refusal_is_kept(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(1200.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    assert aliases(client) == (3, 1)
    assert kinds(client) == [
        ("registered", 1),
        ("promoted", 1),
        ("registered", 2),
        ("promotion_refused", 2),
        ("registered", 3),
        ("promoted", 3),
    ]
    refused = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert refused["outcome"] == "refused"
    assert failed(refused["verdict"]) == ["median_error_m"]
    assert failed(events(client)[3]["verdict"]) == ["median_error_m"]
    assert client.get(f"{MODEL}/versions/3").json()["promotion"]["outcome"] == "promoted"


def test_a_job_that_was_not_to_promote_does_not(client, registry):
    registry.train(1000.0, promote="never")
    assert aliases(client) == (None, None)
    assert client.get(f"{MODEL}/versions/1").json()["promotion"] is None


@pytest.mark.parametrize(
    ("champions_error_m", "outcome", "ends"), [(1000.0, "promoted", (2, 1)), (800.0, "refused", (1, None))]
)
def test_a_retrained_version_waits_until_the_champion_met_its_test_sessions(
    client, registry, champions_error_m, outcome, ends
):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    waiting = client.get(f"{MODEL}/versions/2").json()
    (job_id,) = waiting["promotion"]["evaluation_job_ids"]
    assert waiting["promotion"]["outcome"] == "waits"
    assert kinds(client)[-1] == ("promotion_waits", 2)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["kind"], job["status"], job["created_by"]) == ("evaluate", "queued", "ann")
    assert job["spec"]["model"] == {"name": "localization", "version": 1}
    assert job["spec"]["dataset"] == {"name": "northwest", "version": 2}
    assert job["parent_job_id"] == waiting["job_id"]
    assert registry.finish(job_id, champions_error_m, dataset=2) == ["localization/2"]
    assert aliases(client) == ends
    assert client.get(f"{MODEL}/versions/2").json()["promotion"]["outcome"] == outcome
    assert events(client)[-1]["job_id"] == job_id


def test_a_version_that_waits_is_measured_against_the_champion_of_that_time(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    (job_id,) = client.get(f"{MODEL}/versions/2").json()["promotion"]["evaluation_job_ids"]
    registry.train(700.0, promote="if_better")
    assert aliases(client) == (3, 1)
    assert registry.finish(job_id, 1000.0, dataset=2) == []
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], promotion["verdict"]["champion_version"]) == ("waits", 3)
    (next_id,) = promotion["evaluation_job_ids"]
    assert next_id != job_id
    assert kinds(client)[-1] == ("promotion_waits", 2)
    assert registry.finish(next_id, 600.0) == ["localization/2"]
    assert aliases(client) == (2, 3)
    assert events(client)[-1]["verdict"]["champion_version"] == 3


def test_a_version_that_somebody_promoted_meanwhile_waits_no_longer(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    (job_id,) = client.get(f"{MODEL}/versions/2").json()["promotion"]["evaluation_job_ids"]
    promote(client, 2, force=True, reason="cannot wait")
    client.post(f"{MODEL}:rollback", json={"reason": "that was wrong"})
    assert registry.finish(job_id, 1000.0, dataset=2) == []
    assert aliases(client) == (1, 2)
    assert kinds(client)[-1] == ("rolled_back", 1)


def test_an_evaluation_that_nobody_waits_for_decides_nothing(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    registry.evaluate(1, dataset=2)
    assert aliases(client) == (1, None)


def test_mlflow_is_told_of_every_change_of_aliases_by_an_entry_of_its_own(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0)
    promote(client, 2)
    client.post(f"{MODEL}:rollback")
    with client.database.transaction() as session:
        told = session.scalars(select(Outbox).where(Outbox.topic == "mlflow.alias").order_by(Outbox.id)).all()
        ids = session.scalars(
            select(ModelEvent.id).where(ModelEvent.kind.in_(["model.promoted", "model.rolled_back"]))
        ).all()
    changes = [(o.payload["champion_version"], o.payload["previous_version"]) for o in told]
    assert changes == [(1, None), (2, 1), (1, 2)]
    assert [o.key for o in told] == [str(event_id) for event_id in sorted(ids)]


def test_events_are_read_on_from_where_a_consumer_stopped(client, registry):
    registry.train(promote="if_better")
    registry.train(promote="if_better")
    first = client.get(f"{MODEL}/events?limit=3").json()
    assert len(first["data"]) == 3
    rest = client.get(f"{MODEL}/events?after={first['next_after']}").json()
    assert [event["event"] for event in rest["data"]] == ["model.promoted"]
    nothing = client.get(f"{MODEL}/events?after={rest['next_after']}").json()
    assert nothing == {"data": [], "next_after": rest["next_after"]}


def test_a_version_tells_its_lineage_its_verification_and_its_files(client, registry):
    uri = f"s3://{client.settings.storage.models_bucket}/model-int8.onnx"
    file = {"name": "model-int8.onnx", "precision": "int8", "opset": 18, "include_frontend": False}
    file |= {"uri": uri, "sha256": "2" * 64, "bytes": 3, "verification": VERIFIED}
    first = registry.train(exports=[file])
    second = registry.train(init_from=None)
    third = registry.export(first)
    version = client.get(f"{MODEL}/versions/{first}").json()
    assert version["verification"] == VERIFIED
    (export,) = version["exports"]
    assert (export["name"], export["precision"], export["verification"]) == (
        "model-int8.onnx",
        "int8",
        VERIFIED,
    )
    assert "X-Amz-Signature" in export["download_url"]
    assert [artifact["name"] for artifact in version["artifacts"]] == ["best.ckpt", "residuals.json"]
    assert "X-Amz-Signature" in version["artifacts"][0]["download_url"]
    assert version["lineage"]["parent"] is None
    assert version["lineage"]["dataset"]["digest"] == "digest 1"
    assert client.get(f"{MODEL}/versions/{second}").json()["lineage"]["parent"] is None
    lineage = client.get(f"{MODEL}/versions/{third}").json()["lineage"]
    assert (lineage["job_kind"], lineage["job_id"] != version["job_id"]) == ("export", True)
    assert lineage["parent"] == {"name": "localization", "version": first, "relation": "exported"}


def test_two_versions_on_the_same_sessions_are_compared_with_intervals(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0)
    told = client.get(f"{MODEL}:compare?versions=1,2").json()
    assert [v["version"] for v in told["versions"]] == [1, 2]
    assert told["versions"][0]["aliases"] == ["champion"]
    shared = told["same_sessions"]
    assert (shared["num_sessions"], shared["num_measured"]) == (NUM_SESSIONS, [NUM_SESSIONS] * 2)
    found = {d["metric"]: d for d in shared["differences"]}
    assert set(found) == {"median_error_m", "mean_error_m", "nll_per_m2"}
    errors = np.array([row["error_m"] for row in residual_rows(1000.0)])
    assert found["mean_error_m"]["values"] == pytest.approx([errors.mean(), 0.9 * errors.mean()])
    low, high = found["mean_error_m"]["interval"]
    assert low < found["mean_error_m"]["difference"] < high < 0.0
    assert found["mean_error_m"]["better"] == 2
    assert told == client.get(f"{MODEL}:compare?versions=1,2").json()
    turned = client.get(f"{MODEL}:compare?versions=2,1").json()["same_sessions"]["differences"]
    assert {d["metric"]: d["better"] for d in turned}["mean_error_m"] == 2


def test_a_comparison_that_is_not_possible_names_the_evaluate_job(client, registry):
    registry.train(1000.0)
    registry.train(900.0, dataset=2)
    told = client.get(f"{MODEL}:compare?versions=1,2").json()
    assert told["same_sessions"] is None
    body = {
        "kind": "evaluate",
        "model": {"name": "localization", "version": 1},
        "dataset": {"name": "northwest", "version": 2},
        "split": "test",
    }
    assert told["evaluate"] == [body]
    job_id = registry.evaluate(1, dataset=2, median_error_m=1000.0)
    told = client.get(f"{MODEL}:compare?versions=1,2").json()
    assert told["evaluate"] == []
    assert told["same_sessions"]["dataset"]["version"] == 2
    assert job_id in told["same_sessions"]["job_ids"]


def test_a_version_whose_job_kept_no_residuals_is_evaluated_again(client, registry):
    registry.train(1000.0)
    registry.train(900.0)
    with client.database.transaction() as session:
        newer = session.get_one(ModelVersion, ("localization", 2))
        residuals = (Artifact.job_id == newer.job_id, Artifact.name == "residuals.json")
        session.delete(session.scalars(select(Artifact).where(*residuals)).one())
    (body,) = client.get(f"{MODEL}:compare?versions=1,2").json()["evaluate"]
    assert (body["model"]["version"], body["dataset"]["version"]) == (2, 1)
    registry.evaluate(2, dataset=1, median_error_m=900.0)
    assert client.get(f"{MODEL}:compare?versions=1,2").json()["same_sessions"] is not None


def test_a_comparison_takes_two_versions(client):
    for versions in ("", "1", "1,2,3", "1,x", "0,1", "1, 2"):
        answer = client.get(f"{MODEL}:compare", params={"versions": versions})
        assert answer.status_code == 422, versions
        assert answer.json()["errors"][0]["parameter"] == "versions"


def test_a_version_is_not_compared_with_itself(client, registry):
    registry.train()
    problem(client.get(f"{MODEL}:compare?versions=1,1"), 422, "invalid_request")


def test_a_transaction_that_fails_promotes_nothing_and_tells_nobody(client, registry):
    registry.train(promote="if_better")
    before = events(client)
    with client.database.transaction() as session:
        spec = TrainJobSpec(kind="train", dataset=DatasetRef(name="northwest", version=1))
        job = submit_job(session, spec, owner="ann")
        publish_model(
            session,
            job=job,
            name="localization",
            result=result_of(1.0),
            promote="if_better",
            gate=registry.gate(),
        )
        assert session.get_one(Model, "localization").champion_version == 2
        session.rollback()
    assert aliases(client) == (1, None)
    assert events(client) == before


class Away:
    """An object store that does not answer, or has lost everything."""

    def __init__(self, error):
        self.error = error

    def get_bytes(self, uri):
        raise self.error


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


def test_another_evaluation_settles_a_version_that_waits_if_it_measures_what_is_lacking(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    registry.evaluate(1, dataset=1)
    registry.evaluate(2, dataset=2)
    assert client.get(f"{MODEL}/versions/2").json()["promotion"]["outcome"] == "waits"
    job_id = registry.evaluate(1, dataset=2)
    assert aliases(client) == (2, 1)
    assert events(client)[-1]["job_id"] == job_id


def test_a_version_whose_evaluations_came_to_nothing_waits_no_longer(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    (job_id,) = client.get(f"{MODEL}/versions/2").json()["promotion"]["evaluation_job_ids"]
    plane = ControlPlane(database=client.database, hints=None, settings=client.settings, hold=ReaperHold(0.0))
    refuse_unmeasured(plane)
    assert client.get(f"{MODEL}/versions/2").json()["promotion"]["outcome"] == "waits", "its job is open"
    client.post(f"/v1/jobs/{job_id}:cancel")
    refuse_unmeasured(plane)
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], promotion["reason"]) == (
        "refused",
        "the jobs that were to measure it ended without a measurement",
    )
    assert (kinds(client)[-1], events(client)[-1]["reason"]) == (
        ("promotion_refused", 2),
        promotion["reason"],
    )
    refuse_unmeasured(plane)
    assert kinds(client)[-2:] == [("promotion_waits", 2), ("promotion_refused", 2)]


def test_a_retried_evaluation_keeps_a_version_waiting_and_settles_it(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2, promote="if_better")
    (job_id,) = client.get(f"{MODEL}/versions/2").json()["promotion"]["evaluation_job_ids"]
    client.post(f"/v1/jobs/{job_id}:cancel")
    retried = client.post(f"/v1/jobs/{job_id}:retry").json()["id"]
    with client.database.transaction() as session:
        assert refuse_abandoned(session) == []
    assert registry.finish(retried, 1000.0) == ["localization/2"]
    assert aliases(client) == (2, 1)


def test_what_a_warm_start_had_seen_before_is_not_new_to_it(client, registry):
    registry.freeze(1, trained_on=range(40))
    registry.train(1000.0)
    registry.train(1000.0, dataset=2, promote="if_better")
    start = ModelRef(name="localization", version=1)
    registry.train(900.0, dataset=2, init_from=start)
    event = promote(client, 3).json()["event"]
    assert event["verdict"]["num_sessions"] == NUM_SESSIONS - 40


def test_a_warm_start_that_had_seen_everything_is_kept_out(client, registry):
    registry.freeze(1, trained_on=range(NUM_SESSIONS))
    registry.train(1000.0)
    registry.train(1000.0, dataset=2, promote="if_better")
    registry.train(900.0, dataset=2, init_from=ModelRef(name="localization", version=1), promote="if_better")
    registry.train(800.0, dataset=2, init_from=ModelRef(name="localization", version=3))
    for version in (3, 4):
        told = problem(promote(client, version), 409, "promotion_refused")
        assert "same_test_split" in failed(told["verdict"])
    assert client.get(f"{MODEL}/versions/3").json()["promotion"]["outcome"] == "refused"


def test_a_warm_start_of_which_nobody_knows_what_it_had_seen_is_kept_out(client, registry):
    registry.train(1000.0)
    registry.train(1000.0, dataset=2, promote="if_better")
    registry.train(900.0, dataset=2, init_from=ModelRef(name="localization", version=1), promote="if_better")
    assert client.get(f"{MODEL}/versions/3").json()["promotion"]["outcome"] == "refused"
    assert promote(client, 3).status_code == 503
    assert aliases(client) == (2, None)


def test_a_warm_start_on_the_same_dataset_is_compared_on_all_of_it(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, init_from=ModelRef(name="localization", version=1))
    event = promote(client, 2).json()["event"]
    assert event["verdict"]["num_sessions"] == NUM_SESSIONS


def test_the_loss_of_the_served_precision_counts_session_by_session_too(client, registry):
    registry.train(1000.0, promote="if_better")
    lossy = VERIFIED | {"median_error_change": 0.02, "nll_change": 0.1}
    registry.train(1000.0, dataset=2, verification=lossy)
    registry.evaluate(1, dataset=2, fitted=range(40))
    verdict = problem(promote(client, 2), 409, "promotion_refused")["verdict"]
    assert failed(verdict) == ["median_error_m", "nll_per_m2"]
    median, nll = verdict["checks"][2], verdict["checks"][3]
    assert median["challenger"] == pytest.approx(1.02 * median["champion"])
    assert nll["challenger"] == pytest.approx(nll["champion"] + 0.1)
    told = client.get(f"{MODEL}:compare?versions=1,2").json()["same_sessions"]["differences"]
    assert {one["metric"]: one["difference"] for one in told}["nll_per_m2"] == pytest.approx(0.1)


def test_few_sessions_neither_promote_nor_call_one_better(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(500.0, dataset=2)
    registry.evaluate(1, dataset=2, fitted=range(NUM_SESSIONS - 9))
    verdict = problem(promote(client, 2), 409, "promotion_refused")["verdict"]
    assert (failed(verdict), verdict["num_sessions"]) == (["same_test_split"], 9)
    shared = client.get(f"{MODEL}:compare?versions=1,2").json()["same_sessions"]
    assert shared["num_sessions"] == 9
    assert [one["better"] for one in shared["differences"]] == [None] * 3


def test_a_model_of_another_dataset_is_compared_only_where_somebody_wanted_it(client, registry):
    registry.train(1000.0, promote="if_better")
    with client.database.transaction() as session:
        session.execute(update(DatasetVersion).where(DatasetVersion.version == 2).values(name="south"))
    spec = TrainJobSpec(kind="train", dataset=DatasetRef(name="south", version=2))
    result = result_of(900.0, dataset=2)
    result["dataset"]["name"] = "south"
    registry._publish(spec, result, "if_better")
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], failed(promotion["verdict"])[0]) == ("refused", "same_test_split")
    assert client.get("/v1/jobs?kind=evaluate").json()["data"] == [], "it is not measured unasked"
    (body,) = problem(promote(client, 2), 409, "promotion_refused")["verdict"]["evaluate"]
    assert body["dataset"] == {"name": "south", "version": 2}
    job_id = client.post("/v1/jobs", json=body).json()["id"]
    registry.finish(job_id, 1000.0)
    assert promote(client, 2).status_code == 200


def test_files_of_anothers_job_are_not_handed_out(client, registry):
    registry.train()
    stranger = client.make_key("models:read", owner="bob")
    assert client.get(f"{MODEL}/versions/1", headers=stranger).json()["artifacts"] == []
    owner = client.make_key("models:read", owner="ann")
    assert client.get(f"{MODEL}/versions/1", headers=owner).json()["artifacts"] != []


def test_what_cannot_be_queued_refuses_the_promotion_and_not_the_training(client, registry):
    registry.train(1000.0, promote="if_better")

    def refuse(session, body, job):
        raise InvalidRequest("no such dataset any more")

    spec = TrainJobSpec(kind="train", dataset=DatasetRef(name="northwest", version=2))
    with client.database.transaction() as session:
        job = submit_job(session, spec, owner="ann")
        gate = replace(registry.gate(), measure=refuse)
        result = result_of(900.0, dataset=2)
        registry.add_residuals(session, job.id, scale=900.0)
        publish_model(session, job=job, name="localization", result=result, promote="if_better", gate=gate)
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], promotion["reason"]) == ("refused", "no such dataset any more")


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
