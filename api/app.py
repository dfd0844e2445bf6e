"""The application: services in, routes out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.dashboard import data_pages, fleet_pages, form_pages, job_pages, jobs_pages, model_pages, pages
from api.dashboard.viewer import SignInNeeded
from api.event_hub import EventHub
from api.event_streams import ending_on_signals
from api.joint_submissions import JointSubmissions
from api.layers import Layers, add_layers
from api.metrics import ServiceMetrics
from api.openapi import DESCRIPTION, TAGS, describe_problems
from api.probes import make_probes
from api.problems import install_problem_handlers
from api.progress_watch import watching_progress
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
    metrics,
    models,
    problem_pages,
    receivers,
    recording_sessions,
    schedules,
    uploads,
    webhooks,
)
from api.services import Services
from api.spectrograms import Spectrograms
from api.static_files import VersionedFiles

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
    metrics.router,
    documentation.router,
    problem_pages.router,
    form_pages.router,
    data_pages.router,
    model_pages.router,
    job_pages.router,
    jobs_pages.router,
    fleet_pages.router,
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
    app.state.spectrograms = Spectrograms(services)
    app.state.submissions = JointSubmissions(services, app.state.layers.queue, app.state.layers.callers)
    app.state.events = EventHub(services.database, services.settings.events)
    app.state.metrics = ServiceMetrics(services, app.state.events)
    install_problem_handlers(app)
    app.add_exception_handler(SignInNeeded, pages.to_sign_in)
    add_layers(app, app.state.layers, answers=app.state.metrics.answers)
    for router in _ROUTERS:
        app.include_router(router)
    app.webhooks.include_router(webhooks.messages)
    app.mount("/static", VersionedFiles(), name="static")
    describe_problems(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    events: EventHub = app.state.events
    services.hints.start()
    with ending_on_signals(events.end_all_soon):
        async with events.running(), watching_progress(events, services.database):
            yield
    app.state.submissions.close()
    await app.state.layers.close()
    services.hints.close()
    services.database.dispose()
    services.spans.close()


def _operation_id(route: APIRoute) -> str:
    return route.name
