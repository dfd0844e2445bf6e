"""Receivers: the platform's ``websdr_stations``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MaxLen
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.platform_tables import Station
from heimdall_core.domain.errors import Conflict, FieldProblem
from heimdall_core.domain.spec import STRICT, Name

Latitude = Annotated[float, Ge(-90), Le(90)]
Longitude = Annotated[float, Ge(-180), Le(180)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReceiver:
    """A receiver that the catalogue does not know yet."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Name
    latitude: Latitude
    longitude: Longitude
    altitude_m: Annotated[float, Ge(-500), Le(9000)] = 0.0
    url: Annotated[str, MaxLen(512)] = ""
    """Where the receiver can be listened to."""


def list_receivers(session: Session) -> Sequence[Station]:
    """All, by name."""
    return session.scalars(select(Station).order_by(Station.name)).all()


def create_receiver(session: Session, request: NewReceiver) -> Station:
    """Adds the receiver.

    Raises:
        Conflict: the name is taken.
    """
    lock_receivers(session)
    if session.scalar(select(Station.id).where(Station.name == request.name)) is not None:
        raise Conflict(
            f"there is a receiver {request.name!r} already",
            code="receiver_exists",
            problems=(FieldProblem(pointer="/name", detail="use another name"),),
        )
    station = Station(
        name=request.name,
        url=request.url,
        latitude=request.latitude,
        longitude=request.longitude,
        altitude_asl=request.altitude_m,
    )
    session.add(station)
    session.flush()
    session.refresh(station)
    return station


def lock_receivers(session: Session) -> None:
    """Holds receivers and sources against other importers until the transaction ends.

    The platform's tables need not have unique names, so no ``on conflict`` could do this.
    """
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("catalogue", 0))))
