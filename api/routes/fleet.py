"""The queue and the workers."""

from fastapi import APIRouter

from api.dependencies import Composition, Transaction, needs
from api.fleet import QueueDocument, WorkerList, describe_queue, describe_workers

router = APIRouter(prefix="/v1", tags=["fleet"], dependencies=[needs("jobs:read")])


@router.get("/queue")
def read_queue(session: Transaction) -> QueueDocument:
    """How many jobs wait and run."""
    return describe_queue(session)


@router.get("/workers")
def list_workers(session: Transaction, services: Composition) -> WorkerList:
    """The hosts that run jobs, and what they run."""
    return describe_workers(session, lease_seconds=services.settings.lease.lease_seconds)
