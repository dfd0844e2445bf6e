"""The composition root: ``uvicorn --factory api.main:create``."""

import gc
from typing import Final

from fastapi import FastAPI
from sqlalchemy.orm import configure_mappers

from api.app import create_app
from api.services import Services
from heimdall_core import logs
from heimdall_core.accounts.tokens import token_verifier
from heimdall_core.database import Database
from heimdall_core.jobs.hints import HintPublisher
from heimdall_core.settings import load_settings
from heimdall_core.storage import S3Store
from heimdall_core.telemetry import open_spans

_COLLECTIONS: Final = (5_000, 10, 20)
"""More objects made than ended before the young are collected, and of those collections before older ones."""


def create() -> FastAPI:
    """The application of this process's environment."""
    settings = load_settings()
    logs.configure(settings.log_format)
    app = create_app(
        Services(
            settings=settings,
            database=Database(settings.database, application_name="heimdall-api"),
            store=S3Store(settings.storage),
            hints=HintPublisher(settings.redis),
            tokens=token_verifier(settings.oidc),
            spans=open_spans("heimdall-api"),
        )
    )
    _leave_out_of_collections()
    return app


def _leave_out_of_collections() -> None:
    """What is loaded by now stays, and no collection looks at it again; others are as rare as can be.

    A full one holds up every request of the process, for 0.1 s and more on a busy machine, and finds nothing.
    """
    configure_mappers()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)
