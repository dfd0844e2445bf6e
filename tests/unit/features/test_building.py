"""Two builders at once, one that is killed, a disk that is full: what carries the final name is whole."""

import errno
import io
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.features import FeatureCache, building
from heimdall_core.storage import FolderStore

SPAWN = multiprocessing.get_context("spawn")


class LoggingStore(FolderStore):
    """Leaves a file named after each process that reads."""

    def __init__(self, root: Path, log: Path) -> None:
        super().__init__(root)
        self._log = log

    def get_bytes(self, uri, *, offset=0, num_bytes=None):
        (self._log / str(os.getpid())).touch()
        return super().get_bytes(uri, offset=offset, num_bytes=num_bytes)


def _get(manifest, store_root: Path, cache_root: Path, log: Path, barrier) -> tuple[bool, float]:
    barrier.wait(60)
    store = LoggingStore(store_root, log)
    features = FeatureCache(cache_root, num_fetchers=1).get(manifest, store)
    return features.was_cached, float(np.abs(features.inputs).sum())


def _build_until(manifest, store_root: Path, cache_root: Path, sessions: int) -> None:
    """Builds, and dies of SIGKILL after some sessions."""

    def die(done: int, _: int) -> None:
        if done >= sessions:
            os.kill(os.getpid(), signal.SIGKILL)

    FeatureCache(cache_root, num_fetchers=1).get(manifest, FolderStore(store_root), on_progress=die)


@pytest.mark.slow
def test_of_two_processes_one_builds_and_the_other_waits_for_it(world, tmp_path):
    log = tmp_path / "readers"
    log.mkdir()
    with SPAWN.Manager() as manager, ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        barrier = manager.Barrier(2)
        arguments = (world.manifest(), tmp_path / "store", tmp_path / "cache", log, barrier)
        results = [f.result() for f in [pool.submit(_get, *arguments) for _ in range(2)]]
    assert sorted(was_cached for was_cached, _ in results) == [False, True]
    assert results[0][1] == results[1][1]
    assert len(list(log.iterdir())) == 1


@pytest.mark.slow
def test_a_builder_that_is_killed_half_way_leaves_nothing_that_is_taken_for_whole(world, tmp_path):
    root, manifest = tmp_path / "cache", world.manifest()
    killed = SPAWN.Process(target=_build_until, args=(manifest, tmp_path / "store", root, 3))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    place = root / FeatureCache(root).key(manifest)
    assert place.with_suffix(".partial").is_dir()
    assert not place.exists()
    features = FeatureCache(root).get(manifest, world.store)
    untouched = FeatureCache(tmp_path / "other").get(manifest, world.store)
    assert not features.was_cached
    np.testing.assert_array_equal(features.inputs, untouched.inputs)
    assert [p for p in root.iterdir() if p.is_dir()] == [place]


class FullDisk(io.RawIOBase):
    """A file that takes some bytes and no more."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        super().__init__()
        self._file, self._room = file, room

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, data) -> int:
        size = memoryview(data).nbytes
        if size > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= size
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.mark.parametrize("room", [10, 500, 200_000])
def test_a_full_disk_is_named_and_leaves_nothing(world, tmp_path, monkeypatch, room):
    opened = Path.open

    def open_inputs(path: Path, mode: str = "r", *args, **kwargs):
        full = path.name == building.INPUTS and mode == "wb"
        file = opened(path, mode, *args, **kwargs)
        return FullDisk(file, room) if full else file

    monkeypatch.setattr(building, "_BATCH_PLANES", 2)
    cache = FeatureCache(tmp_path / "cache", num_fetchers=1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_inputs)
        with pytest.raises(InfrastructureError, match="No space left") as caught:
            cache.get(world.manifest(), world.store)
    assert caught.value.stable_code == "cache_unwritable"
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    assert not cache.get(world.manifest(), world.store).was_cached
