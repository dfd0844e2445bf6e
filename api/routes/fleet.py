"""The queue and the workers."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import Composition, Policy, Transaction, needs
from api.fleet import QueueDocument, WorkerList, describe_queue, describe_workers, set_draining

router = APIRouter(prefix="/v1", tags=["fleet"], dependencies=[needs("jobs:read")])

WorkerName = Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[^:/]+$")]


@router.get("/queue")
def read_queue(session: Transaction, policy: Policy) -> QueueDocument:
    """How many jobs wait and run, why they wait, and how long jobs have waited of late."""
    return describe_queue(session, policy)


@router.get("/workers")
def list_workers(session: Transaction, services: Composition) -> WorkerList:
    """The hosts that run jobs, and what they run."""
    return describe_workers(session, lease_seconds=services.settings.lease.lease_seconds)


@router.post("/workers/{name}:drain", dependencies=[needs("admin")])
def drain_worker(name: WorkerName, session: Transaction, services: Composition) -> WorkerList:
    """Keeps a worker from new jobs; it ends what it runs. Then its host can be shut down."""
    set_draining(session, name, draining=True)
    return describe_workers(session, lease_seconds=services.settings.lease.lease_seconds)


@router.post("/workers/{name}:undrain", dependencies=[needs("admin")])
def undrain_worker(name: WorkerName, session: Transaction, services: Composition) -> WorkerList:
    """Lets a drained worker take jobs again."""
    set_draining(session, name, draining=False)
    return describe_workers(session, lease_seconds=services.settings.lease.lease_seconds)
