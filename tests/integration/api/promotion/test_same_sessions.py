"""Two versions are judged on sessions that both were measured on, new to both."""

import pytest
from sqlalchemy import update

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.domain.spec import DatasetRef, ModelRef, TrainJobSpec
from tests.integration.api.promotion.registry import (
    MODEL,
    NUM_SESSIONS,
    VERIFIED,
    aliases,
    failed,
    problem,
    promote,
    result_of,
)


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
    registry.publish(spec, result, "if_better")
    promotion = client.get(f"{MODEL}/versions/2").json()["promotion"]
    assert (promotion["outcome"], failed(promotion["verdict"])[0]) == ("refused", "same_test_split")
    assert client.get("/v1/jobs?kind=evaluate").json()["data"] == [], "it is not measured unasked"
    (body,) = problem(promote(client, 2), 409, "promotion_refused")["verdict"]["evaluate"]
    assert body["dataset"] == {"name": "south", "version": 2}
    job_id = client.post("/v1/jobs", json=body).json()["id"]
    registry.finish(job_id, 1000.0)
    assert promote(client, 2).status_code == 200


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
