"""The composition root: ``uvicorn --factory api.main:create``."""

from fastapi import FastAPI

from api.app import create_app
from api.services import Services
from heimdall_core import logs
from heimdall_core.accounts.tokens import token_verifier
from heimdall_core.database import Database
from heimdall_core.jobs.hints import HintPublisher
from heimdall_core.settings import load_settings
from heimdall_core.storage import S3Store


def create() -> FastAPI:
    """The application of this process's environment."""
    settings = load_settings()
    logs.configure(settings.log_format)
    return create_app(
        Services(
            settings=settings,
            database=Database(settings.database, application_name="heimdall-api"),
            store=S3Store(settings.storage),
            hints=HintPublisher(settings.redis),
            tokens=token_verifier(settings.oidc),
        )
    )
