"""Files that a verdict needs, fetched while no transaction holds a lock."""

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from heimdall_core.domain.errors import HeimdallError, NotFound, StorageRefused, StorageUnavailable

T = TypeVar("T")
_HINT = "Restore the object from a backup, or evaluate the model version again."


class ByteSource(Protocol):
    """Where files are read: an object store, or what was fetched of one."""

    def get_bytes(self, uri: str) -> bytes:
        """The object."""
        ...


class NotRead(Exception):
    """A file is needed that was not fetched: end the transaction, call ``fetch``, begin again."""

    def __init__(self, uri: str, fetch: Callable[[], None]) -> None:
        super().__init__(uri)
        self.fetch = fetch


class ReadBefore:
    """What was fetched of an object store; asking it takes no time.

    Args:
        store: the object store.
        patience_seconds: how long all fetches together may take; None: as long as the store takes.
    """

    def __init__(self, store: ByteSource, *, patience_seconds: float | None = None) -> None:
        self._store = store
        self._found: dict[str, bytes | HeimdallError] = {}
        self._patience_seconds = self._left_seconds = patience_seconds

    def get_bytes(self, uri: str) -> bytes:
        """The object as it was fetched.

        Raises:
            NotRead: it was not fetched yet.
            NotFound, StorageUnavailable: fetching it ended so.
        """
        found = self._found.get(uri)
        if found is None:
            raise NotRead(uri, partial(self._fetch, uri))
        if isinstance(found, HeimdallError):
            raise found
        return found

    def _fetch(self, uri: str) -> None:
        began = time.monotonic()
        try:
            self._found[uri] = self._get(uri)
        except HeimdallError as error:
            self._found[uri] = error
        if self._left_seconds is not None:
            self._left_seconds = max(0.0, self._left_seconds - (time.monotonic() - began))

    def _get(self, uri: str) -> bytes:
        if self._left_seconds is None:
            return self._store.get_bytes(uri)
        answer: Future[bytes] = Future()
        threading.Thread(target=_answer, args=(answer, self._store, uri), name="read", daemon=True).start()
        try:
            return answer.result(self._left_seconds)
        except TimeoutError as error:
            raise StorageUnavailable(
                f"{uri}: the object store has not handed it out within {self._patience_seconds:g} s",
                hint="Nothing was changed. Repeat the request when the object store answers again.",
            ) from error


def _answer(answer: Future[bytes], store: ByteSource, uri: str) -> None:
    try:
        answer.set_result(store.get_bytes(uri))
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
        answer.set_exception(error)


def read_between(session: Session, attempt: Callable[[], T]) -> T:
    """What the attempt returns; the files that it lacks are fetched after its locks were let go.

    Raises:
        Exception: whatever the attempt raises but ``NotRead``.
    """
    while True:
        try:
            with session.begin_nested():
                return attempt()
        except NotRead as wanted:
            wanted.fetch()


def read_written(store: ByteSource, uri: str, sha256: str) -> bytes:
    """An object that a job wrote once and for all.

    Raises:
        StorageRefused: it is gone (``object_gone``) or another (``object_changed``).
        StorageUnavailable: the store does not answer.
    """
    try:
        data = store.get_bytes(uri)
    except NotFound as error:
        raise StorageRefused(
            f"{uri} is recorded, but gone from the object store", code="object_gone", hint=_HINT
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StorageRefused(f"{uri} is not what was written", code="object_changed", hint=_HINT)
    return data
