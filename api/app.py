"""The application: services in, routes out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from api.dashboard import pages
from api.middleware import BodyLimit, RequestContext
from api.openapi import DESCRIPTION, TAGS, describe_problems
from api.probes import make_probes
from api.problems import install_problem_handlers
from api.routes import (
    datasets,
    documentation,
    fleet,
    health,
    job_details,
    jobs,
    models,
    receivers,
    recording_sessions,
    uploads,
)
from api.services import Services

_ROUTERS = (
    jobs.router,
    job_details.router,
    uploads.router,
    receivers.router,
    recording_sessions.router,
    datasets.router,
    models.router,
    fleet.router,
    health.router,
    documentation.router,
    pages.router,
)


def create_app(services: Services) -> FastAPI:
    """An application that serves these services and closes them when it ends."""
    app = FastAPI(
        title="Heimdall Training Service",
        version=version("heimdall-training"),
        summary="Recordings in, a verified and registered ONNX localization model out.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.probes = make_probes(services)
    install_problem_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestContext)
    for router in _ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=pages.STATIC_DIR), name="static")
    describe_problems(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    services.hints.start()
    yield
    services.hints.close()
    services.database.dispose()


def _operation_id(route: APIRoute) -> str:
    return route.name
