"""The service, and in the same process what it is measured against: routes that do next to nothing."""

from typing import Any

from fastapi import FastAPI
from sqlalchemy import Column, DateTime, MetaData, Table, Text, func, insert
from sqlalchemy.dialects.postgresql import JSONB

from api.main import create as create_service
from heimdall_core.database import Database, new_id
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
    app = FastAPI(lifespan=lambda _: service.router.lifespan_context(service))
    database = Database(load_settings().database, application_name="bare")
    _TABLE.metadata.create_all(database.engine)

    @app.get("/bare/empty")
    def empty() -> dict[str, Any]:
        return {}

    @app.get("/bare/empty-async")
    async def empty_async() -> dict[str, Any]:
        return {}

    @app.post("/bare/insert", status_code=201)
    def insert_row(body: dict[str, Any]) -> dict[str, Any]:
        with database.engine.begin() as connection:
            row = {"id": new_id("row"), "body": body}
            connection.execute(insert(_TABLE), row)
        return row

    app.mount("/", service)
    return app
