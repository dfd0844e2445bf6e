"""How the result of a trainer becomes public, in the transaction of its job's success."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.catalogue.import_publication import prepare_import
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import StorageUnavailable
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.jobs.claiming import Claim
from heimdall_core.jobs.finishing import Publish
from heimdall_core.registry.publishing import publish_model

#: Fetches what publishing needs (outside of any transaction) and returns what to do inside of it.
Preparation = Callable[[Claim, dict[str, Any], ObjectStore], Publish]


def prepare_publication(claim: Claim, result: dict[str, Any], store: ObjectStore) -> Publish:
    """The publication of a claim's result.

    Raises:
        StorageUnavailable: what it needs of the object store cannot be had.
    """
    return PREPARATIONS[claim.kind](claim, result, store)


def _prepare_model(claim: Claim, result: dict[str, Any], _store: ObjectStore) -> Publish:
    register = claim.spec["register"]
    training = claim.inputs["train_spec"] if claim.kind == "export" else claim.spec

    def publish(session: Session, job: Job) -> dict[str, Any]:
        model = None
        if register["enabled"] and result.get("onnx"):
            name = training["model"]["name"]
            model = publish_model(session, job=job, name=name, result=result, promote=register["promote"])
        return result | {"model": model}

    return publish


def _prepare_evaluation(_claim: Claim, result: dict[str, Any], _store: ObjectStore) -> Publish:
    """Nothing but the result and the artifacts."""
    return lambda _session, _job: result


def _prepare_import(claim: Claim, result: dict[str, Any], store: ObjectStore) -> Publish:
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
