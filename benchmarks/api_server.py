"""The service, and in the same process what it is measured against: routes that do next to nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Column, DateTime, MetaData, Table, Text, create_engine, func, insert
from sqlalchemy.dialects.postgresql import JSONB

from api.main import create as create_service
from heimdall_core.database import new_id
from heimdall_core.settings import load_settings

_TABLE = Table(
    "bare",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("body", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), server_default=func.now(), nullable=False),
)


def create() -> FastAPI:
    """For ``uvicorn --factory``."""
    service = create_service()

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        async with service.router.lifespan_context(service):
            yield

    app = FastAPI(lifespan=running)
    settings = load_settings().database
    engine = create_engine(settings.url.get_secret_value(), pool_size=2 * settings.pool_size, max_overflow=0)
    _TABLE.metadata.create_all(engine)

    @app.get("/bare/empty")
    def empty() -> dict[str, Any]:
        return {}

    @app.post("/bare/insert", status_code=201)
    def insert_row(body: dict[str, Any]) -> dict[str, Any]:
        with engine.begin() as connection:
            row = {"id": new_id("row"), "body": body}
            connection.execute(insert(_TABLE), row)
        return row

    app.mount("/", service)
    return app
