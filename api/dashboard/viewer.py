"""Whose browser asks for a page."""

import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.callers import Composition, identify_browser
from api.session_cookie import session_token
from heimdall_core.accounts.principal import Principal
from heimdall_core.accounts.web_sessions import csrf_token
from heimdall_core.domain.errors import Unauthenticated
from heimdall_core.domain.scopes import expand_scopes

SIGN_IN = "/sign-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedInViewer:
    """What a page knows of who looks at it."""

    principal: Principal
    name: str
    """Of the key."""
    csrf_token: str

    @property
    def owner(self) -> str:
        """Whose key it is."""
        return self.principal.owner

    @property
    def scopes(self) -> list[str]:
        """With all that they include."""
        return sorted(expand_scopes(self.principal.scopes))

    @property
    def is_admin(self) -> bool:
        """Whether the viewer holds every right."""
        return self.principal.is_admin

    def may(self, scope: str) -> bool:
        """Whether the viewer has the scope."""
        return self.principal.may(scope)

    @property
    def json(self) -> str:
        """For the scripts of a page."""
        facts = {"name": self.name, "owner": self.owner, "scopes": self.scopes, "is_admin": self.is_admin}
        return json.dumps(facts)


class SignInNeeded(Exception):
    """A page is asked for by nobody who is signed in."""


def find_viewer(request: Request, services: Composition) -> SignedInViewer:
    """Who is signed in.

    Raises:
        SignInNeeded: nobody is, or not any more.
    """
    token = session_token(request)
    if token is None:
        raise SignInNeeded
    try:
        found = identify_browser(services, token)
    except Unauthenticated as error:
        raise SignInNeeded from error
    request.state.caller = found.principal
    return SignedInViewer(principal=found.principal, name=found.key_name, csrf_token=csrf_token(token))


Viewer = Annotated[SignedInViewer, Depends(find_viewer)]
