"""How the result of a trainer becomes public, in the transaction of its job's success."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.catalogue.import_publication import prepare_import
from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.domain.spec import DatasetRef, EvaluateJobSpec, ModelRef
from heimdall_core.jobs.claiming import Claim
from heimdall_core.jobs.finishing import Publish
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.automatic_promotion import settle_waiting
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model, require_verified
from heimdall_core.registry.reading import ReadBefore
from heimdall_core.settings import PromotionSettings

FOR_TAG = "promotion.for_job"
"""Of an evaluate job: the job whose version waits for it."""
#: Fetches what publishing needs (outside of any transaction) and returns what to do inside of it.
Preparation = Callable[[Claim, dict[str, Any], ObjectStore, Gate], Publish]


def prepare_publication(
    claim: Claim, result: dict[str, Any], store: ObjectStore, policy: PromotionSettings
) -> Publish:
    """The publication of a claim's result.

    It raises ``NotRead`` where it needs a file of another job: its transaction must not wait for the store.

    Raises:
        DataError: a model is to be registered that was not verified.
        StorageUnavailable: what it needs of the object store cannot be had.
    """
    gate = Gate(policy=policy, store=ReadBefore(store), measure=measure)
    return PREPARATIONS[claim.kind](claim, result, store, gate)


def measure(session: Session, body: Mapping[str, Any], job: Job) -> str:
    """Queues an evaluate job for the owner of the job whose version waits for it; returns its id."""
    spec = EvaluateJobSpec(
        kind="evaluate",
        model=ModelRef(**body["model"]),
        dataset=DatasetRef(**body["dataset"]),
        split=body["split"],
        tags={FOR_TAG: job.id},
    )
    made = submit_job(session, spec, owner=job.owner, sees_all=True)
    made.parent_job_id = job.id
    session.flush()
    return made.id


def _prepare_model(claim: Claim, result: dict[str, Any], _store: ObjectStore, gate: Gate) -> Publish:
    register = claim.spec["register"]
    training = claim.inputs["train_spec"] if claim.kind == "export" else claim.spec
    if not (register["enabled"] and result.get("onnx")):
        return lambda _session, _job: result | {"model": None}
    require_verified(result)
    name = training["model"]["name"]

    def publish(session: Session, job: Job) -> dict[str, Any]:
        model = publish_model(
            session, job=job, name=name, result=result, promote=register["promote"], gate=gate
        )
        row = session.get_one(ModelVersion, (name, model["version"]))
        return result | {"model": model, "promotion": row.promotion}

    return publish


def _prepare_evaluation(_claim: Claim, result: dict[str, Any], _store: ObjectStore, gate: Gate) -> Publish:
    """The result and the artifacts; and the decision about versions that waited for them."""

    def publish(session: Session, job: Job) -> dict[str, Any]:
        settled = settle_waiting(session, job, result, gate)
        return result | {"decided": settled} if settled else result

    return publish


def _prepare_import(claim: Claim, result: dict[str, Any], store: ObjectStore, _gate: Gate) -> Publish:
    data = store.get_bytes(result["findings_uri"])
    if hashlib.sha256(data).hexdigest() != result["findings_sha256"]:
        raise StorageUnavailable(f"{result['findings_uri']} is not what was written", code="object_changed")
    return prepare_import(claim.inputs["options"], json.loads(data))


PREPARATIONS: dict[str, Preparation] = {
    "train": _prepare_model,
    "export": _prepare_model,
    "evaluate": _prepare_evaluation,
    "import": _prepare_import,
}
