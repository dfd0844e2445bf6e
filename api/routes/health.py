"""Whether the process lives, and whether it can serve."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import Composition
from api.probes import Probes, State

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the process can reach; it is ready when the database answers."""

    ready: bool
    database: State | Literal["not_migrated"]
    redis: State
    storage: State
    tracking: State | Literal["not_used"] = "not_used"


def get_probes(request: Request) -> Probes:
    """The application's probes."""
    probes: Probes = request.app.state.probes
    return probes


@router.get("/livez")
def read_liveness() -> Liveness:
    """Answers as long as the process does."""
    return Liveness()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready."}})
def read_readiness(
    services: Composition, probes: Annotated[Probes, Depends(get_probes)], response: Response
) -> Readiness:
    """Ready when the database answers and has tables: without the others jobs are still accepted."""
    database = _database_state(services)
    is_ready = database == "ok"
    if not is_ready:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return Readiness(ready=is_ready, database=database, **probes.states())


def _database_state(services: Composition) -> State | Literal["not_migrated"]:
    try:
        with services.database.transaction() as session:
            has_tables = session.scalar(select(func.to_regclass("training.job").is_not(None)))
    except SQLAlchemyError:
        return "unavailable"
    return "ok" if has_tables else "not_migrated"
