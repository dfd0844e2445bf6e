"""The caller of a request, and what it may do."""

from dataclasses import dataclass

from heimdall_core.domain.errors import Forbidden

ADMIN = "admin"
"""Includes every other scope, and lets its holder see everybody's jobs."""

SCOPES = frozenset(
    {
        ADMIN,
        "jobs:read",
        "jobs:write",
        "recordings:read",
        "recordings:write",
        "datasets:read",
        "datasets:write",
        "models:read",
        "models:promote",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller."""

    owner: str
    key_id: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether the key holds every right."""
        return ADMIN in self.scopes

    @property
    def visible_owner(self) -> str | None:
        """Whose jobs this caller may see; None: everybody's."""
        return None if self.is_admin else self.owner

    def require(self, scope: str) -> None:
        """Raises Forbidden unless the key has the scope."""
        if not self.is_admin and scope not in self.scopes:
            raise Forbidden(
                f"this key lacks the scope {scope!r}",
                hint="Use a key that has it; it has " + (", ".join(sorted(self.scopes)) or "none") + ".",
                code="missing_scope",
            )
