"""The application: services in, routes out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from api.dashboard import pages
from api.event_hub import EventHub
from api.event_streams import ending_on_signals
from api.layers import Layers, add_layers
from api.openapi import DESCRIPTION, TAGS, describe_problems
from api.probes import make_probes
from api.problems import install_problem_handlers
from api.refusals import Refusals
from api.routes import (
    api_keys,
    audit,
    datasets,
    documentation,
    event_streams,
    fleet,
    health,
    job_details,
    job_reviews,
    jobs,
    models,
    problem_pages,
    receivers,
    recording_sessions,
    schedules,
    uploads,
    webhooks,
)
from api.services import Services

_ROUTERS = (
    jobs.router,
    job_details.router,
    job_reviews.router,
    event_streams.router,
    uploads.router,
    receivers.router,
    recording_sessions.router,
    datasets.router,
    models.router,
    schedules.router,
    api_keys.router,
    audit.router,
    webhooks.router,
    fleet.router,
    health.router,
    documentation.router,
    problem_pages.router,
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
    app.state.refusals = Refusals(services.database)
    app.state.layers = Layers(services)
    app.state.events = EventHub(services.database, services.settings.events)
    install_problem_handlers(app)
    add_layers(app, app.state.layers)
    for router in _ROUTERS:
        app.include_router(router)
    app.webhooks.include_router(webhooks.messages)
    app.mount("/static", StaticFiles(directory=pages.STATIC_DIR), name="static")
    describe_problems(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    events: EventHub = app.state.events
    services.hints.start()
    with ending_on_signals(events.end_all_soon):
        async with events.running():
            yield
    await app.state.layers.close()
    services.hints.close()
    services.database.dispose()


def _operation_id(route: APIRoute) -> str:
    return route.name
