"""Trainings and evaluations that have ended without a trainer, and what callers say and hear."""

import hashlib
import json

import numpy as np
from sqlalchemy import func, update

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Artifact, Job
from heimdall_core.domain.spec import (
    DatasetRef,
    EvaluateJobSpec,
    ExportJobSpec,
    ExportSource,
    ModelRef,
    TrainJobSpec,
)
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.automatic_promotion import settle_waiting
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model
from worker.publishing import measure

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
        return self.publish(spec, result_of(median_error_m, dataset=dataset, **changes), promote)

    def export(self, version, *, promote="never", **changes):
        spec = ExportJobSpec(
            kind="export", source=ExportSource(model=ModelRef(name="localization", version=version))
        )
        return self.publish(spec, result_of(1000.0, **changes), promote)

    def publish(self, spec, result, promote):
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


class Away:
    """An object store that does not answer, or has lost everything."""

    def __init__(self, error):
        self.error = error

    def get_bytes(self, uri):
        raise self.error
