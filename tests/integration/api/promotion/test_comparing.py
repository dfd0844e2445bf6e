"""Two versions side by side, and what is missing for it."""

import numpy as np
import pytest
from sqlalchemy import select

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Artifact
from tests.integration.api.promotion.registry import MODEL, NUM_SESSIONS, problem, residual_rows


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
