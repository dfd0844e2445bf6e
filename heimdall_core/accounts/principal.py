"""The caller of a request, and what it may do."""

from dataclasses import dataclass
from datetime import datetime

from heimdall_core.domain.errors import Forbidden, Unauthenticated
from heimdall_core.domain.scopes import ADMIN, READ_ALL_JOBS, READ_SCOPES, SCOPES, expand_scopes

__all__ = ["ADMIN", "ANONYMOUS", "READ_SCOPES", "SCOPES", "Principal", "anonymous", "is_owner_name"]

ANONYMOUS = "anonymous"
"""Owner of nothing: no key and no token can carry this name."""

MAX_OWNER_CHARS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller: the holder of a key or of a token, or nobody in particular."""

    owner: str
    key_id: str | None
    """None: a token, or nobody."""
    scopes: frozenset[str]
    expires_at: datetime | None = None
    """When the key, token or session ends."""
    session_id: str | None = None
    """Of a browser that is signed in with the key."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller holds every right."""
        return ADMIN in self.scopes

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller has not said who it is."""
        return self.owner == ANONYMOUS

    @property
    def visible_owner(self) -> str | None:
        """Whose jobs this caller may see; None: everybody's."""
        return None if self.is_admin or READ_ALL_JOBS in self.scopes else self.owner

    @property
    def writable_owner(self) -> str | None:
        """Whose jobs this caller may change; None: everybody's."""
        return None if self.is_admin else self.owner

    def may(self, scope: str) -> bool:
        """Whether the caller has the scope, by itself or within another."""
        held = expand_scopes(self.scopes)
        return scope in (held & READ_SCOPES if self.is_anonymous else held)

    def require(self, scope: str) -> None:
        """Raises unless the caller has the scope.

        Raises:
            Unauthenticated: the caller has not said who it is.
            Forbidden: it has, and lacks the scope.
        """
        if self.may(scope):
            return
        if self.is_anonymous:
            raise Unauthenticated(
                f"this call needs an API key with the scope {scope!r}",
                hint="Send 'Authorization: Bearer hmd_...'.",
                code="missing_key",
            )
        raise Forbidden(
            f"the caller lacks the scope {scope!r}",
            hint="Use a key that has it; this one has " + (", ".join(sorted(self.scopes)) or "none") + ".",
            code="missing_scope",
        )


def anonymous(scopes: frozenset[str]) -> Principal:
    """Somebody without a name, who reads what the settings let everybody read."""
    return Principal(owner=ANONYMOUS, key_id=None, scopes=scopes & READ_SCOPES)


def is_owner_name(text: str) -> bool:
    """Whether an owner can be called so: up to 255 printable characters, and not the name of nobody."""
    is_plain = bool(text) and text == text.strip() and text.isprintable() and len(text) <= MAX_OWNER_CHARS
    return is_plain and text.casefold() != ANONYMOUS
