"""``register.promote`` of a job: through the gate, or after the champion was measured."""

from dataclasses import replace

import pytest

from heimdall_core.database.catalogue_tables import Model
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.spec import DatasetRef, TrainJobSpec
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.automatic_promotion import refuse_abandoned
from heimdall_core.registry.publishing import publish_model
from tests.integration.api.promotion.registry import (
    MODEL,
    VERIFIED,
    aliases,
    events,
    failed,
    kinds,
    promote,
    result_of,
)
from worker.control import ControlPlane, refuse_unmeasured
from worker.reaper_hold import ReaperHold


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
    assert failed(refused["verdict"]) == ["median_error_m", "better"]
    assert failed(events(client)[3]["verdict"]) == ["median_error_m", "better"]
    assert client.get(f"{MODEL}/versions/3").json()["promotion"]["outcome"] == "promoted"


def test_a_job_does_not_promote_what_is_as_good_as_the_champion_but_a_person_may(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(1000.0, promote="if_better")
    assert aliases(client) == (1, None)
    verdict = client.get(f"{MODEL}/versions/2").json()["promotion"]["verdict"]
    assert failed(verdict) == ["better"]
    assert verdict["checks"][-1]["detail"] == "neither median_error_m nor nll_per_m2 is below version 1's"
    assert promote(client, 2).status_code == 200
    assert aliases(client) == (2, 1)


def test_a_job_promotes_what_is_as_exact_and_surer(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(1000.0, nll_per_m2=16.9, promote="if_better")
    assert aliases(client) == (2, 1)


def test_an_export_of_the_champions_weights_is_told_as_equal_and_measured_by_nobody(client, registry):
    registry.train(1000.0, promote="if_better")
    lucky = VERIFIED | {"median_error_change": -0.001, "nll_change": -0.001}
    registry.export(1, promote="if_better", verification=lucky)
    assert aliases(client) == (1, None)
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], promotion["verdict"]) == ("refused", None)
    assert "the weights of version 1, the champion" in promotion["reason"]
    assert kinds(client)[-1] == ("promotion_refused", 2)
    assert client.get("/v1/jobs?kind=evaluate").json()["data"] == []
    assert promote(client, 2).status_code == 200
    registry.export(1, promote="if_better", verification=lucky)
    assert aliases(client) == (2, 1), "an export of an export's weights is no better either"


def test_an_export_of_other_weights_than_the_champions_passes_if_it_is_better(client, registry):
    registry.train(1000.0)
    registry.train(1100.0, promote="if_better")
    registry.export(1, promote="if_better")
    assert aliases(client) == (3, 2)


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
