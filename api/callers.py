"""Who calls: by the key or token in ``Authorization``, by a browser's cookie, or nobody in particular.

``Authorization`` goes before the cookie. Nobody in particular calls only what the settings open to everybody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request
from fastapi.params import Depends as DependsMarker
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.known_callers import KnownCallers
from api.refusals import Refusals
from api.services import Services
from api.session_cookie import (
    CSRF_HEADER,
    SAFE_METHODS,
    require_csrf_token,
    require_own_page,
    session_token,
)
from heimdall_core.accounts.audit import Circumstances
from heimdall_core.accounts.keys import KEY_PREFIX, authenticate, require_form
from heimdall_core.accounts.principal import Principal, anonymous
from heimdall_core.accounts.tokens import TokenVerifier, is_token
from heimdall_core.accounts.web_sessions import SignedIn, find_session
from heimdall_core.domain.errors import Forbidden, Unauthenticated

_bearer = HTTPBearer(auto_error=False, description="An API key, `hmd_...`, or a token of the issuer.")
_MISSING = "Send 'Authorization: Bearer hmd_...'."


async def get_services(request: Request) -> Services:
    """The composition of this application."""
    services: Services = request.app.state.services
    return services


Composition = Annotated[Services, Depends(get_services)]


def get_caller(
    request: Request,
    services: Composition,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Who calls; a key that is refused is noted in the audit log."""
    caller = _identify(request, services, credentials)
    known: KnownCallers = request.app.state.layers.callers
    known.remember(request.headers.get("authorization"), caller)
    request.state.caller = caller
    return caller


Caller = Annotated[Principal, Depends(get_caller)]


async def get_named_caller(caller: Caller) -> Principal:
    """Who calls, and has said who it is."""
    if caller.is_anonymous:
        raise Unauthenticated("this call needs an API key", hint=_MISSING, code="missing_key")
    return caller


NamedCaller = Annotated[Principal, Depends(get_named_caller)]


def needs(scope: str) -> DependsMarker:
    """A dependency that lets only callers with the scope pass."""

    async def check(request: Request, caller: Caller) -> None:
        request.state.scopes = {*getattr(request.state, "scopes", ()), scope}
        try:
            caller.require(scope)
        except Forbidden as error:
            refusals: Refusals = request.app.state.refusals
            await refusals.note_soon(error, caller, circumstances_of(request))
            raise

    marker: DependsMarker = Depends(check)
    return marker


@contextmanager
def noted_refusals(request: Request) -> Iterator[None]:
    """Notes what is refused within, after what it had begun is undone."""
    try:
        yield
    except Forbidden as error:
        refusals: Refusals = request.app.state.refusals
        refusals.note(error, getattr(request.state, "caller", None), circumstances_of(request))
        raise


def circumstances_of(request: Request) -> Circumstances:
    """What the audit log tells of how a request came."""
    return Circumstances(
        request_id=getattr(request.state, "request_id", None),
        client=request.client.host if request.client else None,
    )


def _identify(
    request: Request, services: Services, credentials: HTTPAuthorizationCredentials | None
) -> Principal:
    if credentials is None:
        return _browser(request, services) or _nobody(request, services)
    if _tokens_for(services, credentials.credentials) is None:
        require_form(credentials.credentials)  # what is no key is worth neither a look-up nor a note
    try:
        return identify(services, credentials.credentials)
    except Unauthenticated as error:
        refusals: Refusals = request.app.state.refusals
        refusals.note(error, None, circumstances_of(request))
        raise


def _browser(request: Request, services: Services) -> Principal | None:
    """Who is signed in at the browser that sent the cookie, if one did."""
    token = session_token(request)
    if token is None or "authorization" in request.headers:
        return None
    try:
        if request.method not in SAFE_METHODS:
            require_own_page(request.headers)
            require_csrf_token(token, request.headers.get(CSRF_HEADER))
    except Forbidden as error:
        refusals: Refusals = request.app.state.refusals
        refusals.note(error, None, circumstances_of(request))
        raise
    return identify_browser(services, token).principal


def identify_browser(services: Services, token: str) -> SignedIn:
    """Who is signed in, by one statement.

    Raises:
        Unauthenticated: nobody any more.
    """
    with services.database.engine.connect() as connection:
        return find_session(connection.execution_options(isolation_level="AUTOCOMMIT"), token)


def _nobody(request: Request, services: Services) -> Principal:
    scopes = frozenset(scope.value for scope in services.settings.access.anonymous_scopes)
    if not scopes:
        raise Unauthenticated("this call needs an API key", hint=_MISSING, code="missing_key")
    if "authorization" in request.headers:
        raise Unauthenticated("Authorization carries no bearer key", hint=_MISSING, code="missing_key")
    return anonymous(scopes)


def _tokens_for(services: Services, credentials: str) -> TokenVerifier | None:
    """Who verifies this, if it is a token."""
    return services.tokens if not credentials.startswith(KEY_PREFIX) and is_token(credentials) else None


def identify(services: Services, credentials: str) -> Principal:
    """The holder of a key or token, by one statement or none.

    Raises:
        Unauthenticated: it is not known here, or no longer.
        IssuerUnavailable: a token's issuer does not answer.
    """
    if (tokens := _tokens_for(services, credentials)) is not None:
        return tokens.verify(credentials)
    with services.database.engine.connect() as connection:
        # Without a transaction of its own around one statement: a third of the round trips.
        return authenticate(connection.execution_options(isolation_level="AUTOCOMMIT"), credentials)
