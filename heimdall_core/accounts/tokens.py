"""Bearer tokens of an OpenID Connect issuer: signature, claims, and what the holder's roles open."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError

from heimdall_core.accounts.issuer_keys import IssuerKeys
from heimdall_core.accounts.principal import Principal, is_owner_name
from heimdall_core.domain.errors import Unauthenticated
from heimdall_core.settings import OidcSettings

MAX_TOKEN_CHARS = 16_384
_NUM_PARTS = 3
_HINT = "Get a new token from the issuer, for this service as its audience."
_NO_ACCESS_TOKENS = {"ID", "Refresh", "Offline", "Logout"}
"""What Keycloak states as ``typ`` of its other tokens."""


class TokenVerifier:
    """Tells who holds a token of the issuer that the settings name."""

    def __init__(self, settings: OidcSettings, keys: IssuerKeys) -> None:
        self._settings, self._keys = settings, keys
        self._registry = jws.JWSRegistry(algorithms=settings.algorithms, strict_check_header=False)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer or ""},
            aud={"essential": True, "values": list(settings.audience)},
            exp={"essential": True},
            sub={"essential": True},
        )

    def verify(self, token: str) -> Principal:
        """The caller that holds the token.

        Raises:
            Unauthenticated: it is no token of the issuer for this service, or has expired.
            IssuerUnavailable: the issuer's keys are not to be had.
        """
        claims = self._verified(token)
        return Principal(
            owner=self._owner(claims),
            key_id=None,
            scopes=frozenset(scopes_of(self._settings, claims)),
            expires_at=_expiry(claims),
        )

    def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            header = jws.extract_compact(token.encode()).headers()
            self._check_header(header)
            keys = self._keys.find(header.get("kid"))
            if keys is None:
                raise _refused("its signing key is not one of the issuer's")
            claims = jwt.decode(token, keys, registry=self._registry).claims
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise Unauthenticated("the token has expired", hint=_HINT, code="token_expired") from error
        except (JoseError, ValueError, TypeError) as error:
            raise _refused(_reason(error)) from error
        if claims.get("typ") in _NO_ACCESS_TOKENS:
            raise _refused("it is no access token")
        return claims

    def _check_header(self, header: Mapping[str, Any]) -> None:
        """Before any key is fetched."""
        if header.get("alg") not in self._settings.algorithms:
            raise _refused("its algorithm is not allowed")
        if not isinstance(header.get("kid"), str | None):
            raise _refused("its key id is no text")

    def _owner(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._settings.owner_claim) or claims["sub"]
        owner = f"{self._settings.owner_prefix}{name}"
        if not isinstance(name, str) or not is_owner_name(owner):
            raise _refused("its holder's name cannot be an owner's")
        return owner


def token_verifier(settings: OidcSettings) -> TokenVerifier | None:
    """Of the issuer; None: the settings name none."""
    return None if settings.issuer is None else TokenVerifier(settings, IssuerKeys(settings))


def is_token(credentials: str) -> bool:
    """Whether this has the form of a signed token rather than of a key."""
    return len(credentials) <= MAX_TOKEN_CHARS and credentials.count(".") == _NUM_PARTS - 1


def scopes_of(settings: OidcSettings, claims: Mapping[str, Any]) -> Iterator[str]:
    """What the roles in the claims open; roles that the settings do not name open nothing."""
    paths: list[Sequence[str]] = [settings.roles_claim.split(".")]
    if settings.client_id is not None:
        paths.append(("resource_access", settings.client_id, "roles"))
    for role in (role for path in paths for role in _roles(claims, path)):
        yield from (scope.value for scope in settings.role_scopes.get(role, ()))


def _roles(claims: Any, path: Sequence[str]) -> Iterable[str]:
    """The strings at the path; a blank-separated text is a list too, as ``scope`` of OAuth is."""
    for member in path:
        claims = claims.get(member) if isinstance(claims, Mapping) else None
    found = claims.split() if isinstance(claims, str) else claims
    return [role for role in found if isinstance(role, str)] if isinstance(found, list) else []


def _expiry(claims: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise _refused("its time of expiry is no time") from error


def _reason(error: Exception) -> str:
    """What may be told of a fault: the kind, never what the token says."""
    if isinstance(error, ClaimError):
        return f"its claim {error.claim!r} is missing or wrong"
    return "it is not validly signed"


def _refused(reason: str) -> Unauthenticated:
    return Unauthenticated(f"the token is not accepted: {reason}", hint=_HINT, code="invalid_token")
