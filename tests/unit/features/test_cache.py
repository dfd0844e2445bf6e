import dataclasses
import fcntl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from heimdall_core.domain.errors import DataError, InfrastructureError, NotFound
from heimdall_core.domain.ports import JobStopped
from heimdall_core.features import FeatureCache, rows

SMALL = ("first_segment", "targets_km", "positions_deg", "snr_db")


class CountingStore:
    """Counts the reads, and can hold the first one until it is released."""

    def __init__(self, store, gate=None):
        self._store, self._gate, self.num_reads = store, gate, 0
        self.was_read = threading.Event()

    def get_bytes(self, uri, *, offset=0, num_bytes=None):
        self.num_reads += 1
        self.was_read.set()
        if self._gate is not None:
            assert self._gate.wait(30)
        return self._store.get_bytes(uri, offset=offset, num_bytes=num_bytes)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", num_fetchers=2)


def assert_same(a, b):
    np.testing.assert_array_equal(a.inputs, b.inputs)
    for name in SMALL:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.session_ids, a.splits) == (b.session_ids, b.splits)


def test_a_changed_object_is_detected_and_nothing_is_left(world, cache, tmp_path):
    recording = world.sessions[4].recordings[1]
    data = bytearray(world.store.get_bytes(recording.uri))
    data[recording.offset + 5] ^= 1
    world.store.put_bytes(recording.uri, bytes(data))
    with pytest.raises(DataError, match="session ses_4, receiver east") as caught:
        cache.get(world.manifest(), world.store)
    assert caught.value.stable_code == "object_changed"
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_a_missing_object_is_named(world, cache):
    session = world.sessions[0]
    absent = tuple(dataclasses.replace(r, uri="s3://raw/absent") for r in session.recordings)
    world.sessions[0] = dataclasses.replace(session, recordings=absent)
    with pytest.raises(NotFound, match="s3://raw/absent"):
        cache.get(world.manifest(), world.store)


def test_a_recording_of_an_unlisted_receiver_is_refused(world, cache, random_iq):
    world.add({"west": (random_iq(), 12_500.0, -20.0)})
    with pytest.raises(DataError, match="west") as caught:
        cache.get(world.manifest(), world.store)
    assert caught.value.stable_code == "unknown_receiver"


@pytest.mark.parametrize(
    ("samples", "rate", "floor", "code"),
    [
        (4000, 12_500.0, -20.0, "recording_too_short"),
        (8000, 48_000.0, -20.0, "recording_too_short"),
        (9000, 8_000.0, None, "noise_floor_unknown"),
    ],
)
def test_an_unusable_recording_is_refused_before_anything_is_read(
    world, cache, random_iq, samples, rate, floor, code
):
    world.add({"north": (random_iq(samples), rate, floor)})
    store = CountingStore(world.store)
    with pytest.raises(DataError) as caught:
        cache.get(world.manifest(), store)
    assert caught.value.stable_code == code
    assert store.num_reads == 0


def test_a_cache_that_cannot_be_written_is_an_infrastructure_error(world, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InfrastructureError, match="cannot be written") as caught:
        FeatureCache(tmp_path / "file" / "cache").get(world.manifest(), world.store)
    assert caught.value.stable_code == "cache_unwritable"


def test_a_stop_request_ends_the_build_and_leaves_nothing(world, cache, tmp_path):
    with pytest.raises(JobStopped) as caught:
        cache.get(world.manifest(), world.store, stop=lambda: "cancel")
    assert caught.value.request == "cancel"
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_a_reopened_set_equals_the_built_one_bit_for_bit(world, cache):
    built = cache.get(world.manifest(), world.store)
    store = CountingStore(world.store)
    reopened = cache.get(world.manifest(), store)
    assert (built.was_cached, reopened.was_cached) == (False, True)
    assert store.num_reads == 0
    assert_same(built, reopened)


def test_two_builds_of_the_same_recordings_are_equal_bit_for_bit(world, tmp_path):
    first = FeatureCache(tmp_path / "a", num_fetchers=1).get(world.manifest(), world.store)
    second = FeatureCache(tmp_path / "b", num_fetchers=8).get(world.manifest(), world.store)
    assert_same(first, second)


def test_two_builders_at_once_build_once(world, cache):
    gate = threading.Event()
    stores = [CountingStore(world.store, gate), CountingStore(world.store, gate)]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, world.manifest(), stores[0])
        assert stores[0].was_read.wait(30)
        second = pool.submit(cache.get, world.manifest(), stores[1])
        gate.set()
        assert_same(first.result(), second.result())
    assert stores[1].num_reads == 0
    assert second.result().was_cached


def test_waiting_for_another_builder_can_be_stopped(world, cache, tmp_path):
    place = tmp_path / "cache" / cache.key(world.manifest())
    place.parent.mkdir()
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(JobStopped):
            cache.get(world.manifest(), world.store, stop=lambda: "shutdown")


def test_what_a_killed_builder_left_is_built_anew(world, cache, tmp_path):
    root = tmp_path / "cache"
    partial = (root / cache.key(world.manifest())).with_suffix(".partial")
    script = (
        "import fcntl, os, pathlib, signal\n"
        f"partial = pathlib.Path({str(partial)!r}); partial.mkdir(parents=True)\n"
        "lock = partial.with_suffix('.lock').open('w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "(partial / 'inputs.npy').write_bytes(b'half')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -9
    assert partial.is_dir()
    features = cache.get(world.manifest(), world.store)
    assert not features.was_cached
    assert np.isfinite(features.inputs).all()
    assert [p for p in root.iterdir() if p.is_dir()] == [root / cache.key(world.manifest())]


def test_other_feature_settings_have_their_own_place(world, cache):
    manifest = world.manifest()
    linear = dataclasses.replace(manifest, features=dataclasses.replace(manifest.features, scale="linear"))
    assert cache.key(manifest) != cache.key(linear)
    assert cache.key(manifest) == cache.key(dataclasses.replace(manifest, version=2))


def test_an_absent_receiver_is_a_plane_of_zeros(world, cache):
    features = cache.get(world.manifest(), world.store)
    assert not features.inputs[0, 2].any()
    assert np.isnan(features.snr_db[0, 2])
    assert (features.inputs[1, 2, rows.PRESENCE_ROW] == 1.0).all()
    assert np.isfinite(features.snr_db[1]).all()


def test_sessions_keep_their_order_segments_and_labels(world, cache):
    features = cache.get(world.manifest(), world.store)
    assert features.inputs.shape == (7, 3, 128, 32)
    assert features.first_segment.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert features.num_segments(3) == 2
    assert features.session_ids == tuple(f"ses_{i}" for i in range(6))
    assert features.indices("val").tolist() == [1, 4]
    np.testing.assert_allclose(features.positions_deg[5], [45.05, 8.1])
    np.testing.assert_allclose(features.targets_km[5], [0.0, 11.1], atol=0.05)


def test_receiver_positions_are_relative_to_the_origin(world, cache):
    features = cache.get(world.manifest(), world.store)
    east, north, altitude = features.inputs[0, 0, rows.POSITION_ROWS, 0]
    assert (east < 0, altitude) == (True, pytest.approx(0.3))
    assert north == pytest.approx(0.278, abs=0.001)


def test_the_shortest_recording_limits_the_segments_of_a_session(world, cache, random_iq):
    world.add({"north": (random_iq(13_000), 12_500.0, -20.0), "east": (random_iq(9_000), 12_500.0, -20.0)})
    features = cache.get(world.manifest(), world.store)
    assert features.num_segments(6) == 2


def test_another_sample_rate_is_resampled(world, cache):
    time = np.arange(48_000) / 48_000.0
    inside, outside = (np.exp(2j * np.pi * f * time).astype(np.complex64) for f in (2_000.0, 20_000.0))
    world.add({"north": (inside, 48_000.0, -60.0), "east": (outside, 48_000.0, -60.0)})
    features = cache.get(world.manifest(), world.store)
    assert features.num_segments(6) == 2
    first = features.inputs[features.first_segment[6]]
    assert first[0, rows.OFFSET_ROW, 0] * rows.OFFSET_SCALE_KHZ == pytest.approx(2.0, abs=0.01)
    assert features.snr_db[6, 0] == pytest.approx(60.0, abs=0.1)
    assert features.snr_db[6, 1] < 20.0


@pytest.mark.parametrize("iq_format", ["ci16_le", "cu8"])
def test_integer_formats_give_the_same_levels(world, cache, random_iq, iq_format):
    samples = random_iq(level=0.2)
    world.add({"north": (samples, 12_500.0, -20.0)})
    world.add({"north": (samples, 12_500.0, -20.0)}, iq_format)
    features = cache.get(world.manifest(), world.store)
    assert features.snr_db[7, 0] == pytest.approx(features.snr_db[6, 0], abs=0.1)


def test_recordings_in_objects_of_their_own_give_the_same_features(world, cache, tmp_path):
    together = cache.get(world.manifest(), world.store)
    for number, session in enumerate(world.sessions):
        alone = []
        for recording in session.recordings:
            data = world.store.get_bytes(
                recording.uri, offset=recording.offset, num_bytes=recording.num_bytes
            )
            uri = f"s3://raw/{session.id}/{recording.receiver}"
            world.store.put_bytes(uri, data)
            alone.append(dataclasses.replace(recording, uri=uri, offset=0))
        world.sessions[number] = dataclasses.replace(session, recordings=tuple(alone))
    apart = cache.get(world.manifest(), world.store)
    assert not apart.was_cached
    assert_same(together, apart)


def test_progress_counts_sessions(world, cache):
    seen = []
    cache.get(world.manifest(), world.store, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)


def test_the_inputs_are_mapped_and_read_only(world, cache):
    features = cache.get(world.manifest(), world.store)
    assert isinstance(features.inputs, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        features.inputs[0, 0, 0, 0] = 1.0
    assert Path(features.inputs.filename).is_file()
