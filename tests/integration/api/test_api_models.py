"""Models: published with their job's success, read over HTTP."""

import math

import pytest
from sqlalchemy import select

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job, Outbox
from heimdall_core.domain.spec import DatasetRef, TrainJobSpec
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model

METRICS = {"median_error_m": 1.0, "nll_per_m2": 17.0, "coverage_68": 0.68}


def gate(client):
    return Gate(policy=client.settings.promotion, store=client.store)


@pytest.fixture
def publish(client):
    """Publishes a model of a new job and returns its name and version."""
    with client.database.transaction() as session:
        session.add_all(
            DatasetVersion(
                name=name,
                version=1,
                digest=f"digest of {name}",
                manifest_uri=f"s3://b/{name}.json",
                manifest_sha256="0" * 64,
                counts={},
                receivers=[],
                query={},
                split={},
                created_by="ann",
            )
            for name in ("northwest", "southeast")
        )

    def publish(error_m, *, dataset="northwest", promote="if_better"):
        with client.database.transaction() as session:
            spec = TrainJobSpec(kind="train", dataset=DatasetRef(name=dataset))
            job = submit_job(session, spec, owner="ann")
            result = {
                "metrics": METRICS | {"median_error_m": error_m, "ence": math.nan},
                "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
                "verification": {"passed": True},
                "dataset": {"name": dataset, "version": 1},
                "mlflow_run_id": "run",
                "parity": 1e-6,
            }
            return publish_model(
                session, job=job, name="localization", result=result, promote=promote, gate=gate(client)
            )

    return publish


def champion(client):
    return client.get("/v1/models/localization").json()["champion_version"]


def test_versions_count_up_and_the_best_of_a_dataset_is_champion(client, publish):
    assert publish(1000.0) == {"name": "localization", "version": 1}
    assert champion(client) == 1
    publish(1500.0)
    assert champion(client) == 1
    publish(500.0, dataset="southeast")
    assert champion(client) == 1
    publish(800.0, promote="never")
    assert champion(client) == 1
    assert publish(900.0)["version"] == 5
    assert champion(client) == 5


def test_a_first_version_that_may_not_be_promoted_leaves_no_champion(client, publish):
    publish(1000.0, promote="never")
    assert champion(client) is None


def test_a_version_is_served_with_its_file_and_its_facts(client, publish):
    publish(1000.0)
    version = client.get("/v1/models/localization/versions/1").json()
    assert version["aliases"] == ["champion"]
    assert version["metrics"] == METRICS | {"median_error_m": 1000.0, "ence": None}
    assert version["dataset"] == {"name": "northwest", "version": 1, "digest": "digest of northwest"}
    assert version["facts"]["parity"] == 1e-6
    assert version["onnx"]["bytes"] == 7
    assert "X-Amz-Signature" in version["onnx"]["download_url"]
    (listed,) = client.get("/v1/models/localization/versions").json()["data"]
    assert (listed["version"], listed["onnx"]["sha256"]) == (1, version["onnx"]["sha256"])
    assert [m["name"] for m in client.get("/v1/models").json()["data"]] == ["localization"]


def test_mlflow_is_told_once_of_each_version(client, publish):
    publish(1000.0)
    publish(900.0)
    with client.database.transaction() as session:
        rows = session.scalars(select(Outbox).order_by(Outbox.id)).all()
        jobs = session.scalars(select(Job.id).order_by(Job.created_at)).all()
    rows = [row for row in rows if row.topic == "mlflow.model_version"]
    assert [row.key for row in rows] == list(jobs)
    assert [row.payload["version"] for row in rows] == [1, 2]
    assert all(row.payload["is_champion"] for row in rows)


def test_a_transaction_that_fails_registers_nothing(client, publish):
    with client.database.transaction() as session:
        spec = TrainJobSpec(kind="train", dataset=DatasetRef(name="northwest"))
        job = submit_job(session, spec, owner="ann")
        result = {
            "metrics": METRICS,
            "onnx": {"uri": "s3://b/x.onnx", "sha256": "1" * 64, "bytes": 7},
            "verification": {"passed": True},
            "dataset": {"name": "northwest", "version": 1},
        }
        publish_model(
            session, job=job, name="localization", result=result, promote="if_better", gate=gate(client)
        )
        session.rollback()
    assert client.get("/v1/models").json()["data"] == []
