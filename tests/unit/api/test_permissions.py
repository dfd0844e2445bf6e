"""Every route with every scope: who passes, who is refused, and that nothing changes without a trace."""

import asyncio
import re
from dataclasses import replace
from inspect import isawaitable

import httpx
import pytest
from fastapi import Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.responses import Response
from structlog.testing import capture_logs

from api.callers import get_caller, get_services
from api.dependencies import open_transaction
from api.spectrograms import get_spectrograms
from heimdall_core.accounts.principal import READ_SCOPES, SCOPES, Principal, anonymous
from heimdall_core.settings import AccessSettings, EventSettings

ANYBODY, NAMED, CALLER = "anybody", "whoever has said who it is", "whoever may read anything"

#: What each route asks for. A route that is not here fails a test: think about who may call it, then add it.
NEEDS = {
    "GET /": ANYBODY,
    "GET /datasets": ANYBODY,
    "GET /datasets/new": ANYBODY,
    "GET /datasets/{name}": ANYBODY,
    "GET /datasets/{name}/versions/{version}": ANYBODY,
    "GET /docs": ANYBODY,
    "GET /favicon.ico": ANYBODY,
    "GET /fleet": ANYBODY,
    "GET /jobs/{job_id}": ANYBODY,
    "GET /jobs/new": ANYBODY,
    "GET /livez": ANYBODY,
    "GET /metrics": "jobs:read:all",
    "GET /models": ANYBODY,
    "GET /models/{name}": ANYBODY,
    "GET /models/{name}/compare": ANYBODY,
    "GET /openapi.json": ANYBODY,
    "GET /problems": ANYBODY,
    "GET /problems/{code}": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /recordings": ANYBODY,
    "GET /recordings/{session_id}": ANYBODY,
    "GET /sign-in": ANYBODY,
    "GET /static/{path}": ANYBODY,
    "POST /sign-in": ANYBODY,
    "POST /sign-out": ANYBODY,
    "GET /v1/api-keys": NAMED,
    "POST /v1/api-keys": NAMED,
    "GET /v1/api-keys/{key_id}": NAMED,
    "DELETE /v1/api-keys/{key_id}": NAMED,
    "GET /v1/audit": "admin",
    "POST /v1/datasets": "datasets:write",
    "GET /v1/datasets": "datasets:read",
    "GET /v1/datasets/{name}": "datasets:read",
    "GET /v1/datasets/{name}/versions": "datasets:read",
    "GET /v1/datasets/{name}/versions/{version}": "datasets:read",
    "POST /v1/datasets:preview": "datasets:read",
    "GET /v1/events": "jobs:read",
    "GET /v1/events/stream": "jobs:read",
    "POST /v1/jobs": "jobs:write",
    "GET /v1/jobs": "jobs:read",
    "GET /v1/jobs/{job_id}": "jobs:read",
    "PATCH /v1/jobs/{job_id}": "jobs:write",
    "GET /v1/jobs/{job_id}/artifacts": "jobs:read",
    "GET /v1/jobs/{job_id}/artifacts/{name}": "jobs:read",
    "HEAD /v1/jobs/{job_id}/artifacts/{name}": "jobs:read",
    "GET /v1/jobs/{job_id}/attempts": "jobs:read",
    "GET /v1/jobs/{job_id}/checkpoints": "jobs:read",
    "GET /v1/jobs/{job_id}/events": "jobs:read",
    "GET /v1/jobs/{job_id}/events/stream": "jobs:read",
    "GET /v1/jobs/{job_id}/lineage": "jobs:read",
    "GET /v1/jobs/{job_id}/logs": "jobs:read",
    "GET /v1/jobs/{job_id}/metrics": "jobs:read",
    "GET /v1/jobs/{job_id}/spec": "jobs:read",
    "POST /v1/jobs/{job_id}:cancel": "jobs:write",
    "POST /v1/jobs/{job_id}:finish": "jobs:write",
    "POST /v1/jobs/{job_id}:pause": "jobs:write",
    "POST /v1/jobs/{job_id}:resume": "jobs:write",
    "POST /v1/jobs/{job_id}:retry": "jobs:write",
    "GET /v1/jobs:compare": "jobs:read",
    "GET /v1/jobs:schema": "jobs:read",
    "POST /v1/jobs:validate": "jobs:read",
    "GET /v1/models": "models:read",
    "GET /v1/models/{name}": "models:read",
    "GET /v1/models/{name}/drift-scores": "models:read",
    "POST /v1/models/{name}/drift-scores": "jobs:write",
    "GET /v1/models/{name}/events": "models:read",
    "GET /v1/models/{name}/versions": "models:read",
    "GET /v1/models/{name}/versions/{version}": "models:read",
    "GET /v1/models/{name}/versions/{version}/lineage": "models:read",
    "GET /v1/models/{name}/versions/{version}/verdict": "models:read",
    "POST /v1/models/{name}/versions/{version}:promote": "models:promote",
    "GET /v1/models/{name}:compare": "models:read",
    "POST /v1/models/{name}:retrain": "jobs:write",
    "POST /v1/models/{name}:rollback": "models:promote",
    "GET /v1/queue": "jobs:read",
    "GET /v1/receivers": "recordings:read",
    "POST /v1/receivers": "recordings:write",
    "GET /v1/recording-sessions": "recordings:read",
    "GET /v1/recording-sessions/{session_id}": "recordings:read",
    "GET /v1/recording-sessions/{session_id}/spectrogram": "recordings:read",
    "PATCH /v1/recording-sessions/{session_id}": "recordings:write",
    "POST /v1/recording-sessions:approve": "recordings:write",
    "POST /v1/recording-sessions:import": "recordings:write",
    "POST /v1/recording-sessions:reject": "recordings:write",
    "GET /v1/schedules": "jobs:read",
    "POST /v1/schedules": "jobs:write",
    "GET /v1/schedules/{schedule_id}": "jobs:read",
    "PATCH /v1/schedules/{schedule_id}": "jobs:write",
    "DELETE /v1/schedules/{schedule_id}": "jobs:write",
    "POST /v1/schedules/{schedule_id}:run": "jobs:write",
    "POST /v1/uploads": "recordings:write",
    "GET /v1/uploads/{upload_id}": "recordings:read",
    "POST /v1/uploads/{upload_id}:complete": "recordings:write",
    "GET /v1/webhook-deliveries/{delivery_id}": "webhooks:write",
    "POST /v1/webhook-deliveries/{delivery_id}:replay": "webhooks:write",
    "GET /v1/webhook-endpoints": "webhooks:write",
    "POST /v1/webhook-endpoints": "webhooks:write",
    "GET /v1/webhook-endpoints/{endpoint_id}": "webhooks:write",
    "PATCH /v1/webhook-endpoints/{endpoint_id}": "webhooks:write",
    "DELETE /v1/webhook-endpoints/{endpoint_id}": "webhooks:write",
    "GET /v1/webhook-endpoints/{endpoint_id}/deliveries": "webhooks:write",
    "POST /v1/webhook-endpoints/{endpoint_id}:rotate-secret": "webhooks:write",
    "POST /v1/webhook-endpoints/{endpoint_id}:test": "webhooks:write",
    "GET /v1/whoami": CALLER,
    "GET /v1/workers": "jobs:read",
    "POST /v1/workers/{name}:drain": "admin",
    "POST /v1/workers/{name}:undrain": "admin",
}
GUARDED = {route: need for route, need in NEEDS.items() if need != ANYBODY}
SAFE = ("GET", "HEAD")
#: POST for the sake of their body.
COMPUTE_ONLY = {"POST /v1/datasets:preview", "POST /v1/jobs:validate"}
VALUES = {
    "job_id": "job_" + "a" * 24,
    "upload_id": "upl_" + "a" * 24,
    "key_id": "key_" + "a" * 24,
    "endpoint_id": "whe_" + "a" * 24,
    "schedule_id": "sch_" + "a" * 24,
    "delivery_id": "whd_" + "a" * 24,
    "session_id": "00000000-0000-0000-0000-000000000000",
    "version": "1",
}


def routes_of(app):
    for context in iter_route_contexts(app.routes):
        methods = set(context.methods or ("GET",))
        if not isinstance(context.original_route, APIRoute):
            methods -= {"HEAD"}
        for method in methods:
            yield f"{method} {context.path_format}", context


def dependencies_of(dependant):
    for inner in dependant.dependencies:
        yield inner.call
        yield from dependencies_of(inner)


class Passed(Exception):
    """The call has got as far as its transaction."""


class NoRefusals:
    """Notes nothing."""

    def note(self, *_about):
        pass

    async def note_soon(self, *_about):
        pass


class NoEvents:
    """A fan-out that nobody gets to follow."""

    settings = EventSettings()

    def admit(self, _follower):
        raise Passed


@pytest.fixture
def statuses(app):
    """Calls routes as somebody with these scopes; the status of each. Nothing gets beyond its dependencies."""

    async def caller_of(request: Request) -> Principal:
        given = request.headers.get("X-Scopes")
        if given is None:
            found = get_caller(request, request.app.state.services, None)
            return await found if isawaitable(found) else found
        return Principal(owner="bob", key_id="key_1", scopes=frozenset(given.split()))

    async def refuse_to_work():
        raise Passed

    @app.exception_handler(Passed)
    async def passed(_request, _error):
        return Response(status_code=299)

    app.dependency_overrides[get_caller] = caller_of
    app.dependency_overrides[open_transaction] = refuse_to_work
    app.dependency_overrides[get_spectrograms] = refuse_to_work
    app.state.refusals, app.state.events = NoRefusals(), NoEvents()

    async def ask(routes, headers):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            return {route: (await client.request(**request_of(route), headers=headers)) for route in routes}

    def ask_all(*scopes, named=True):
        headers = {"X-Scopes": " ".join(scopes)} if named else {}
        with capture_logs():
            answers = asyncio.run(ask(GUARDED, headers))
        return {route: answer.status_code for route, answer in answers.items()}

    return ask_all


def request_of(route):
    method, _, path = route.partition(" ")
    filled = re.sub(r"{(\w+)}", lambda match: VALUES.get(match[1], "name"), path)
    return {"method": method, "url": filled, "json": None if method in SAFE else {}}


def let_in(statuses):
    assert set(statuses.values()) <= {200, 299, 401, 403, 404, 422}, statuses
    return {route for route, status in statuses.items() if status not in {401, 403}}


def expects(need, scopes):
    return (
        need in {NAMED, CALLER}
        or need in scopes
        or "admin" in scopes
        or (need == "jobs:read" and "jobs:read:all" in scopes)
    )


def test_every_route_is_in_the_table(app):
    assert sorted(name for name, _ in routes_of(app)) == sorted(NEEDS)


def test_every_route_of_the_api_asks_who_calls():
    assert [route for route, need in NEEDS.items() if "/v1/" in route and need == ANYBODY] == []


@pytest.mark.parametrize("scope", [*sorted(SCOPES), ""])
def test_a_scope_opens_what_it_names_and_nothing_else(statuses, scope):
    scopes = scope.split()
    found = statuses(*scopes)
    assert let_in(found) == {route for route, need in GUARDED.items() if expects(need, scopes)}
    assert {found[route] for route in GUARDED if route not in let_in(found)} <= {403}


def test_all_scopes_but_admin_together_do_not_make_an_admin(statuses):
    passed = let_in(statuses(*SCOPES - {"admin"}))
    assert passed == {route for route, need in GUARDED.items() if need != "admin"}


def test_nobody_in_particular_is_refused_everything(statuses):
    assert set(statuses(named=False).values()) == {401}


@pytest.fixture
def let_everybody(app, services):
    """Sets what everybody may read."""

    def change(*scopes):
        access = AccessSettings(anonymous_scopes=scopes)
        settings = services.settings.model_copy(update={"access": access})
        app.state.services = replace(services, settings=settings)

    return change


def test_what_everybody_may_read_by_setting_is_read_and_nothing_is_ever_written(let_everybody, statuses):
    let_everybody(*sorted(READ_SCOPES))
    passed = let_in(statuses(named=False))
    assert passed == {route for route, need in GUARDED.items() if need in READ_SCOPES | {CALLER}}
    assert {route for route in passed if not route.startswith(SAFE)} <= COMPUTE_ONLY


def test_one_scope_for_everybody_opens_that_scope_alone(let_everybody, statuses):
    let_everybody("models:read")
    passed = let_in(statuses(named=False))
    assert passed == {route for route, need in GUARDED.items() if need in {"models:read", CALLER}}


@pytest.mark.parametrize("scope", sorted(SCOPES - READ_SCOPES))
def test_no_setting_lets_everybody_write(scope):
    with pytest.raises(ValueError, match=scope):
        AccessSettings(anonymous_scopes=["models:read", scope])
    assert not anonymous(frozenset({scope})).may(scope)


def test_every_call_that_changes_something_does_so_in_the_transaction_that_is_audited(app):
    untraced = [
        name
        for name, context in routes_of(app)
        if NEEDS.get(name, CALLER) != ANYBODY
        and not name.startswith(SAFE)
        and open_transaction not in dependencies_of(context.dependant)
    ]
    assert untraced == []


def test_no_route_finds_its_services_but_by_the_one_dependency(app):
    """What the table's overrides rest on."""
    guarded = [context for name, context in routes_of(app) if NEEDS.get(name) not in {ANYBODY, None}]
    assert all(get_caller in dependencies_of(context.dependant) for context in guarded)
    assert all(get_services in dependencies_of(context.dependant) for context in guarded)
