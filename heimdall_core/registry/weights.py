"""Whether two versions are files of the same weights: a training and its exports."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Artifact, Job

BEST_WEIGHTS = "best.ckpt"


def have_same_weights(session: Session, first: ModelVersion, second: ModelVersion) -> bool:
    """Whether both were exported from one file of weights of one training."""
    weights = _weights_of(session, first)
    return weights is not None and weights == _weights_of(session, second)


def _weights_of(session: Session, row: ModelVersion) -> tuple[str, str] | None:
    """The training, and the sha256 of its file of weights; None: it kept none."""
    job = session.get_one(Job, row.job_id)
    if row.origin == "export":
        return job.inputs["train_job_id"], job.inputs["weights"]["sha256"]
    best = select(Artifact.sha256).where(Artifact.job_id == job.id, Artifact.name == BEST_WEIGHTS)
    sha256 = session.scalar(best.order_by(Artifact.attempt.desc()).limit(1))
    return None if sha256 is None else (job.id, sha256)
