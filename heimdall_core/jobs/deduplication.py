"""What a training would compute, and whether one has computed it: the same data, specification and code."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

import heimdall_core
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import DuplicateJob
from heimdall_core.domain.job import JobKind, JobStatus

_IRRELEVANT = frozenset({"dataset", "priority", "tags", "limits", "not_before", "on_duplicate"})
"""Of a specification: what decides when and for whom it runs, or is stated by the dataset's digest."""
_DETERMINING = (
    "domain",
    "evaluation",
    "export",
    "exporting.py",
    "features",
    "networks",
    "pipeline.py",
    "recordings",
    "training",
)
"""Parts of ``heimdall_core`` that decide what a training makes of its data."""
_TWINS = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.SUCCEEDED)


def content_key(kind: str, spec: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    """SHA-256 over dataset digest, resolved specification and code; None: not of a training."""
    if kind != JobKind.TRAIN:
        return None
    told = {key: value for key, value in spec.items() if key not in _IRRELEVANT}
    told["resources"] = {k: v for k, v in told["resources"].items() if k != "min_memory_gb"}
    weights = inputs.get("init_weights") or {}
    content = {
        "code": code_version(),
        "dataset_digest": inputs["dataset_digest"],
        "init_weights": weights.get("sha256"),
        "spec": told,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def lock_content(session: Session, key: str) -> None:
    """Holds the content until the transaction ends: of two requests at once the second finds the first's."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"content {key}", 0))))


def find_twin(session: Session, key: str | None, *, owner: str | None) -> Job | None:
    """The job that has computed this or is about to: first one that succeeded, then the oldest.

    Jobs that were asked to stop or to finish early are none.

    Args:
        session: the transaction.
        key: what ``content_key`` gave; None: nothing has a twin.
        owner: whose jobs count; None: everybody's.
    """
    if key is None:
        return None
    statement = select(Job).where(
        Job.content_key == key,
        Job.status.in_([status.value for status in _TWINS]),
        Job.cancel_requested_at.is_(None),
        Job.finish_requested_at.is_(None),
    )
    if owner is not None:
        statement = statement.where(Job.owner == owner)
    is_done = case((Job.status == JobStatus.SUCCEEDED.value, 0), else_=1)
    return session.scalars(statement.order_by(is_done, Job.created_at, Job.id).limit(1)).first()


def refuse_twin(twin: Job) -> DuplicateJob:
    """What ``on_duplicate: reject`` is answered."""
    made = _registered_by(twin)
    done = f"job {twin.id} has trained this already" if made else f"job {twin.id}, {twin.status}, trains this"
    links = {"job": f"/v1/jobs/{twin.id}"}
    if made:
        name, number = made
        done += f": model {name!r} version {number}"
        links["model_version"] = f"/v1/models/{name}/versions/{number}"
    return DuplicateJob(
        done, links=links, hint='Follow links.job, or send "on_duplicate": "run" to train it again.'
    )


def _registered_by(job: Job) -> tuple[str, int] | None:
    model = (job.result or {}).get("model") or {}
    return (model["name"], model["version"]) if {"name", "version"} <= model.keys() else None


@cache
def code_version() -> str:
    """The version of the package, and a digest of its source that decides what a training makes."""
    root = Path(heimdall_core.__file__ or "").parent
    digest = hashlib.sha256()
    for path in _sources(root):
        digest.update(f"{path.relative_to(root)} ".encode() + path.read_bytes())
    try:
        own = version("heimdall-training")
    except PackageNotFoundError:
        own = "unknown"
    return f"{own}+{digest.hexdigest()[:16]}"


def _sources(root: Path) -> Iterable[Path]:
    for part in _DETERMINING:
        path = root / part
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))
