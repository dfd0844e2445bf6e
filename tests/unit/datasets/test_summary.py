"""What a version holds, and how far its splits lie from each other."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from heimdall_core.datasets.assembling import SelectedSession, Selection
from heimdall_core.datasets.places import MOST_PLACES, count_together, gather_places
from heimdall_core.datasets.summary import VersionStatistics, describe_version, separate, split_sizes
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


def test_places_hold_every_session_and_keep_the_splits_apart():
    sessions = [at(45.0, 8.0), at(45.0, 8.0), at(45.0, 8.0), at(46.0, 9.0)]
    found = gather_places(sessions, ["train", "train", "test", "test"])
    assert {(p.latitude, p.longitude, p.split, p.sessions) for p in found} == {
        (45.0, 8.0, "train", 2),
        (45.0, 8.0, "test", 1),
        (46.0, 9.0, "test", 1),
    }
    assert [p.split for p in gather_places(sessions, None)] == [None, None]
    assert gather_places([], None) == []


def test_thousands_of_places_are_told_as_few():
    sessions = [at(45 + n / 7919, 8 + (n * 37 % 3000) / 3000, n) for n in range(3000)]
    found = gather_places(sessions, None)
    assert len(found) <= MOST_PLACES
    assert sum(place.sessions for place in found) == 3000
    assert all(45 <= place.latitude <= 45.4 and 8 <= place.longitude <= 9 for place in found)


def test_receivers_that_hear_the_same_are_counted_together():
    aosta, genoa = RECEIVER, replace(RECEIVER, name="genoa")
    both = at(45.0, 8.0)
    both = replace(both, recordings=(*both.recordings, replace(both.recordings[0], receiver="genoa")))
    selection = Selection(sessions=[both, at(45.1, 8.0), at(45.2, 8.0)], receivers=(aosta, genoa))
    assert count_together(selection) == [[3, 1], [1, 1]]
    assert count_together(replace(selection, receivers=(aosta,) * 101)) is None


def test_what_was_frozen_before_the_map_was_kept_is_still_read():
    sessions = [at(45.0, 8.0), at(45.5, 8.0), at(46.0, 8.0)]
    selection = Selection(sessions=sessions, receivers=(RECEIVER,))
    kept = TypeAdapter(VersionStatistics)
    former = kept.dump_python(describe_version(selection, ["a", "b", "c"], ["train", "val", "test"]))
    assert (len(former.pop("places")), former.pop("heard_together")) == (3, [[3]])
    found = kept.validate_python(former)
    assert (found.sessions, found.places, found.heard_together) == (3, None, None)
