"""The spectrogram that people see is what training reads, in dB and Hz."""

import json
from dataclasses import replace

import numpy as np
import pytest

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import canonical_json
from heimdall_core.features import FeatureCache, rows
from heimdall_core.features.session_spectrogram import describe_spectrogram


def alone(manifest, number):
    return replace(manifest, sessions=(manifest.sessions[number],))


def test_it_is_what_training_reads(world, tmp_path):
    manifest = world.manifest()
    features = FeatureCache(tmp_path / "cache").get(manifest, world.store)
    found = describe_spectrogram(alone(manifest, 3), 1, world.store)
    assert (found["segment"], found["num_segments"]) == (1, 2)
    assert [r["receiver"] for r in found["receivers"]] == ["north", "east", "south"]
    inputs = features.inputs[features.first_segment[3] + 1]
    for receiver in found["receivers"]:
        plane = inputs[[r.name for r in manifest.receivers].index(receiver["receiver"])]
        shown = np.array(receiver["over_floor_db"])
        assert shown.shape == (120, 32)
        np.testing.assert_allclose(shown, plane[:120] * rows.DB_SCALE, atol=0.006)
        np.testing.assert_allclose(receiver["snr_db"], plane[rows.SNR_ROW, 0] * rows.DB_SCALE, atol=0.006)
        np.testing.assert_allclose(
            receiver["carrier_offset_hz"], plane[rows.OFFSET_ROW, 0] * rows.OFFSET_SCALE_KHZ * 1e3, atol=0.006
        )


def test_a_tone_is_bright_where_the_axis_has_its_frequency(world, random_iq):
    tone = np.exp(2j * np.pi * 2000 / 12_500 * np.arange(4300)).astype(np.complex64)
    world.add({"north": (tone + random_iq(4300, 0.001), 12_500.0, -60.0)})
    found = describe_spectrogram(alone(world.manifest(), -1), 0, world.store)
    frequency_hz, time_seconds = np.array(found["frequency_hz"]), np.array(found["time_seconds"])
    brightest = np.array(found["receivers"][0]["over_floor_db"]).mean(axis=1).argmax()
    assert abs(frequency_hz[brightest] - 2000) < 100
    assert np.all(np.diff(frequency_hz) > 0)
    assert np.all(np.diff(time_seconds) > 0)
    assert 0 < time_seconds[0] < time_seconds[-1] < found["segment_seconds"]


def test_it_says_where_the_noise_floor_comes_from(world, random_iq):
    world.add({"north": (random_iq(20_000), 48_000.0, None), "east": (random_iq(5000), 12_500.0, None)})
    found = describe_spectrogram(alone(world.manifest(), -1), 0, world.store)
    assert [r["noise_floor_from"] for r in found["receivers"]] == ["recording", "segment"]
    stated = describe_spectrogram(alone(world.manifest(), 0), 0, world.store)["receivers"][0]
    assert (stated["noise_floor_from"], stated["noise_floor_dbfs"]) == ("stated", -20.0)


def test_silence_is_a_number_too(world):
    world.add({"north": (np.zeros(4300, np.complex64), 12_500.0, -60.0)})
    found = describe_spectrogram(alone(world.manifest(), -1), 0, world.store)
    assert json.loads(canonical_json(found))["receivers"][0]["over_floor_db"][0][0] == found["min_db"]


def test_a_segment_beyond_the_end_is_refused(world):
    with pytest.raises(DataError) as refused:
        describe_spectrogram(alone(world.manifest(), 3), 2, world.store)
    assert refused.value.stable_code == "segment_not_found"


def test_an_object_that_is_gone_or_changed_is_the_recordings_fault(world):
    manifest = alone(world.manifest(), 0)
    uri = manifest.sessions[0].recordings[0].uri
    world.store.put_bytes(uri, b"x" * len(world.store.get_bytes(uri)))
    with pytest.raises(DataError) as changed:
        describe_spectrogram(manifest, 0, world.store)
    assert changed.value.stable_code == "object_changed"
    recordings = tuple(replace(r, uri="s3://raw/gone") for r in manifest.sessions[0].recordings)
    gone = replace(manifest, sessions=(replace(manifest.sessions[0], recordings=recordings),))
    with pytest.raises(DataError) as refused:
        describe_spectrogram(gone, 0, world.store)
    assert refused.value.stable_code == "object_gone"
    assert uri not in refused.value.message
