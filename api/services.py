"""What the routes need of the outside world; composed in ``main``, received by ``create_app``."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from heimdall_core.accounts.tokens import TokenVerifier
from heimdall_core.database import Database
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.settings import Settings
from heimdall_core.telemetry import NO_SPANS, Spans


class HandoutStore(ObjectStore, Protocol):
    """An object store that can hand out URLs."""

    def presign_get(self, uri: str) -> str:
        """A URL to GET the object."""
        ...

    def presign_put(self, uri: str) -> str:
        """A URL to PUT the object."""
        ...

    def list_sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each object whose URI begins with ``prefix``, by URI."""
        ...

    def ping(self) -> None:
        """Raises StorageUnavailable unless the store answers."""
        ...


class Hints(Protocol):
    """Wakes workers, or fails to: a hint may be lost."""

    def start(self) -> None:
        """Begins to send."""
        ...

    def hint(self) -> None:
        """Asks for one wake-up without waiting for it."""
        ...

    def ask_spectrogram(self, session_id: UUID, segment: int) -> None:
        """Asks a worker to make a spectrogram without waiting for it."""
        ...

    def close(self) -> None:
        """Stops sending."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The composition that an application serves."""

    settings: Settings
    database: Database
    store: HandoutStore
    hints: Hints
    tokens: TokenVerifier | None = None
    """Of the issuer, if the settings name one."""
    spans: Spans = NO_SPANS
