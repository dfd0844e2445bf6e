"""What a version holds, and how far its splits lie from each other."""

import pytest

from heimdall_core.datasets.assembling import SelectedSession, Selection
from heimdall_core.datasets.summary import describe_version, separate, split_sizes
from heimdall_core.domain.manifest import ManifestReceiver, ManifestRecording
from heimdall_core.recordings.geodesy import distance_m

RECEIVER = ManifestReceiver(name="aosta", latitude=45.74, longitude=7.32, altitude_m=580.0)


def at(latitude: float, longitude: float, number: int = 0) -> SelectedSession:
    recording = ManifestRecording(
        receiver="aosta",
        uri=f"s3://raw/{number}",
        offset=0,
        num_bytes=8,
        sha256=f"{number:064d}",
        format="cf32_le",
        sample_rate_hz=12_500.0,
        center_frequency_hz=145.5e6,
    )
    return SelectedSession(
        id=str(number),
        source=f"beacon {number}",
        latitude=latitude,
        longitude=longitude,
        frequency_hz=145.5e6,
        started_at="2025-05-01T00:00:00Z",
        group=None,
        recordings=(recording,),
        snr_db=(12.0,),
    )


def test_the_distance_of_a_split_is_that_to_the_nearest_position_that_trains():
    sessions = [at(45.0, 8.0), at(45.5, 8.0), at(45.0, 8.1), at(45.4, 8.0)]
    found = separate(sessions, ["train", "train", "test", "test"])
    near, far = distance_m([45.4, 45.0], [8.0, 8.1], [45.5, 45.0], [8.0, 8.0])
    low, high = sorted((near, far))
    assert found["test"].smallest_m == pytest.approx(low, abs=0.01)
    assert found["test"].median_m == pytest.approx((low + high) / 2, abs=0.01)
    assert found["test"].shared_positions == 0
    assert "val" not in found


def test_a_position_in_two_splits_is_a_leak_that_is_seen():
    found = separate([at(45.0, 8.0), at(45.0, 8.0), at(46.0, 8.0)], ["train", "test", "test"])
    assert (found["test"].smallest_m, found["test"].shared_positions) == (0.0, 1)


def test_the_antimeridian_and_the_poles_part_nobody():
    found = separate([at(0.0, 179.999), at(0.0, 0.0), at(0.0, -179.999)], ["train", "train", "test"])
    assert found["test"].smallest_m == pytest.approx(222.6, abs=0.1)


def test_splits_are_counted_in_sessions_units_and_positions():
    sessions = [at(45.0, 8.0), at(45.0, 8.0), at(45.0, 8.1), at(46.0, 8.0)]
    sizes = split_sizes(sessions, ["a", "a", "b", "c"], ["train", "train", "train", "test"])
    assert (sizes["train"].sessions, sizes["train"].units, sizes["train"].positions) == (3, 2, 2)
    assert (sizes["test"].sessions, sizes["test"].units, sizes["test"].positions) == (1, 1, 1)
    assert sizes["val"].sessions == sizes["val"].positions == 0


def test_a_version_is_described_with_everything_that_its_preview_shows():
    selection = Selection(sessions=[at(45.0, 8.0, 1), at(46.0, 8.0, 2)], receivers=(RECEIVER,))
    found = describe_version(selection, ["a", "b"], ["train", "test"])
    assert (found.sessions, found.positions, found.heard_by[0].sessions) == (2, 2, 2)
    assert found.snr.bins[0].recordings == 2
    assert found.separation["test"].smallest_m == pytest.approx(111_150, rel=0.01)
