"""Promotion by request: through the gate, by force, once for a key, one at a time."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from sqlalchemy import update

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.domain.errors import DataError
from tests.integration.api.promotion.registry import (
    MODEL,
    VERIFIED,
    aliases,
    events,
    failed,
    kinds,
    problem,
    promote,
)


def test_what_does_not_exist_cannot_be_promoted_or_rolled_back(client, registry):
    problem(promote(client, 1), 404, "model_not_found")
    problem(client.post(f"{MODEL}:rollback"), 404, "model_not_found")
    problem(client.get(f"{MODEL}/events"), 404, "model_not_found")
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 404, "model_not_found")
    registry.train()
    problem(promote(client, 2), 404, "model_version_not_found")
    problem(client.get(f"{MODEL}:compare?versions=1,2"), 404, "model_version_not_found")
    problem(client.get(f"{MODEL}/versions/2/verdict"), 404, "model_version_not_found")
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


def test_promoting_the_champion_changes_nothing(client, registry):
    registry.train(promote="if_better")
    answer = promote(client, 1)
    assert (answer.status_code, answer.json()["changed"], answer.json()["event"]) == (200, False, None)
    assert aliases(client) == (1, None)
    assert kinds(client) == [("registered", 1), ("promoted", 1)]


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


def test_the_verdict_can_be_seen_before_it_is_asked_for_and_changes_nothing(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(2000.0)
    before = events(client)
    reader = client.make_key("models:read")
    told = client.get(f"{MODEL}/versions/2/verdict", headers=reader).json()
    assert (told["passed"], failed(told)) == (False, ["median_error_m"])
    assert told == problem(promote(client, 2), 409, "promotion_refused")["verdict"]
    assert (aliases(client), events(client)) == ((1, None), before)
    registry.train(900.0)
    assert client.get(f"{MODEL}/versions/3/verdict").json()["passed"]


def test_a_verdict_that_nothing_was_measured_for_names_the_evaluate_job(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, dataset=2)
    told = client.get(f"{MODEL}/versions/2/verdict").json()
    assert "same_test_split" in failed(told)
    assert [body["kind"] for body in told["evaluate"]] == ["evaluate"]


def test_the_list_of_models_tells_of_their_champions(client, registry):
    registry.train(1000.0)
    (none,) = client.get("/v1/models").json()["data"]
    assert (none["num_versions"], none["newest_version"], none["champion"]) == (1, 1, None)
    registry.train(900.0)
    promote(client, 1)
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["num_versions"], model["newest_version"]) == (2, 2)
    assert (model["champion"]["version"], model["champion"]["verified"]) == (1, True)
    assert model["champion"]["metrics"]["median_error_m"] == 1000.0
