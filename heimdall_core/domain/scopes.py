"""What a caller can be allowed: the one list of scopes."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """One right."""

    JOBS_READ = "jobs:read"
    JOBS_READ_ALL = "jobs:read:all"
    JOBS_WRITE = "jobs:write"
    RECORDINGS_READ = "recordings:read"
    RECORDINGS_WRITE = "recordings:write"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    MODELS_READ = "models:read"
    MODELS_PROMOTE = "models:promote"
    WEBHOOKS_WRITE = "webhooks:write"
    ADMIN = "admin"


ADMIN: Final = Scope.ADMIN.value
"""Includes every other scope, and lets its holder see and change what is everybody's."""

READ_ALL_JOBS: Final = Scope.JOBS_READ_ALL.value
"""Includes ``jobs:read``, and lets its holder see everybody's jobs; it changes none of them."""

SCOPES: Final = frozenset(scope.value for scope in Scope)

READ_SCOPES: Final = frozenset(
    {
        Scope.JOBS_READ.value,
        READ_ALL_JOBS,
        Scope.RECORDINGS_READ.value,
        Scope.DATASETS_READ.value,
        Scope.MODELS_READ.value,
    }
)
"""What changes nothing: all that a caller without a name can ever be allowed."""

_INCLUDED: Final = {ADMIN: SCOPES, READ_ALL_JOBS: frozenset({Scope.JOBS_READ.value})}


def expand_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes with all that they include."""
    given = frozenset(scopes)
    return given.union(*(_INCLUDED.get(scope, frozenset()) for scope in given))
