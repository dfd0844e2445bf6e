"""Receivers."""

from fastapi import APIRouter, Response

from api.dependencies import Once, Transaction, needs
from api.schemas.recordings import ReceiverDocument, ReceiverList, receiver_document
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.catalogue.receivers import NewReceiver, create_receiver, list_receivers

router = APIRouter(prefix="/v1/receivers", tags=["recordings"])


@router.get("", dependencies=[needs("recordings:read")])
def list_all_receivers(session: Transaction) -> ReceiverList:
    """All receivers, by name."""
    return ReceiverList(data=[receiver_document(station) for station in list_receivers(session)])


@router.post("", status_code=201, response_model=ReceiverDocument, dependencies=[needs("recordings:write")])
def create_new_receiver(request: NewReceiver, session: Transaction, once: Once) -> Response:
    """Adds a receiver; an import adds those that its recordings name by itself."""

    def create() -> Answer:
        document = receiver_document(create_receiver(session, request))
        return Answer(status_code=201, body=document.model_dump(mode="json"))

    return once.answer(create)
