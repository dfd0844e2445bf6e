"""Features of a dataset version, computed once and reused by every later job."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.domain.manifest import FEATURES_VERSION, Manifest
from heimdall_core.domain.ports import JobStopped, ObjectStore, StopRequest
from heimdall_core.features.building import build_features
from heimdall_core.features.feature_set import FeatureSet, open_feature_set

_LOCK_POLL_SECONDS = 0.05

OnProgress = Callable[[int, int], None]
Stop = Callable[[], StopRequest | None]


class FeatureCache:
    """A folder of finished feature sets, keyed by the digests of the manifest and its feature settings.

    A set is built beside its place and renamed into it, so that what carries the final name is whole. One
    builder works at a time (``flock``, released by the kernel when the process dies); others wait for it.
    What a killed builder left is removed by the next.
    """

    def __init__(self, root: Path, *, num_fetchers: int = 8) -> None:
        self._root = root
        self._num_fetchers = num_fetchers

    def get(
        self,
        manifest: Manifest,
        store: ObjectStore,
        *,
        on_progress: OnProgress | None = None,
        stop: Stop | None = None,
    ) -> FeatureSet:
        """Opens the features of ``manifest``, building them first if need be.

        Args:
            manifest: the frozen dataset version.
            store: where its recordings lie.
            on_progress: called with (sessions done, sessions in all) after every batch.
            stop: asked between batches whether to end, e.g. ``Reporter.stop_requested``.

        Raises:
            DataError: a recording is unusable or no longer what was frozen (``object_changed``).
            NotFound, StorageUnavailable: as the store says.
            InfrastructureError: the cache cannot be written (``cache_unwritable``), e.g. the disk is full.
            JobStopped: ``stop`` answered with a request.
        """
        place = self._root / self.key(manifest)
        if place.is_dir():
            return open_feature_set(place, was_cached=True)
        with _disk_errors_translated(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            with _lock(place.with_suffix(".lock"), stop):
                if place.is_dir():
                    return open_feature_set(place, was_cached=True)
                self._build(place, manifest, store, on_progress, stop)
        return open_feature_set(place, was_cached=False)

    def key(self, manifest: Manifest) -> str:
        """The folder name of a manifest's features."""
        settings = manifest.features.digest()
        return f"v{FEATURES_VERSION}-{manifest.digest()[:24]}-{settings[:16]}"

    def _build(
        self,
        place: Path,
        manifest: Manifest,
        store: ObjectStore,
        on_progress: OnProgress | None,
        stop: Stop | None,
    ) -> None:
        partial = place.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            for done in build_features(manifest, store, partial, num_fetchers=self._num_fetchers):
                if on_progress is not None:
                    on_progress(done, len(manifest.sessions))
                _raise_if_stopped(stop)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(place)
        _sync(self._root)


@contextmanager
def _lock(path: Path, stop: Stop | None) -> Iterator[None]:
    with path.open("w") as file:
        while not _try_lock(file.fileno()):
            _raise_if_stopped(stop)
            time.sleep(_LOCK_POLL_SECONDS)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _raise_if_stopped(stop: Stop | None) -> None:
    request = stop() if stop is not None else None
    if request is not None:
        raise JobStopped(request)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors_translated(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"the feature cache {root} cannot be written: {error}",
            code="cache_unwritable",
            hint="Free space on the disk or set HEIMDALL_CACHE_DIR to another.",
        ) from error
