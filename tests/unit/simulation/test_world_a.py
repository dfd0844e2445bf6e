import hashlib

import numpy as np
import pytest

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.recordings.level import estimate_snr_db
from heimdall_core.simulation.link_budget import (
    AGC_LIMIT_DBFS,
    HEARING_THRESHOLD_DB,
    MISSING_PROBABILITY,
    median_snr_db,
)
from heimdall_core.simulation.sites import ORIGIN, SITES
from heimdall_core.simulation.world_a import WORLD_A, WorldADraw, draw_world_a, simulate_sessions


@pytest.fixture(scope="module")
def draw() -> WorldADraw:
    return draw_world_a(20_000, seed=1)


def test_no_sessions_can_be_asked_for():
    assert len(draw_world_a(0, seed=1)) == 0
    assert list(simulate_sessions(0, seed=1)) == []


def test_a_longer_draw_begins_with_the_shorter_one(draw):
    shorter = draw_world_a(1500, seed=1)
    for name, values in draw.arrays().items():
        assert np.array_equal(shorter.arrays()[name], values[:1500]), name


def test_the_world_is_the_one_of_earlier_versions(draw):
    digest = hashlib.sha256()
    for name in ("row", "east_km", "north_km", "eirp_dbm", "snr_db", "is_recorded", "floor_dbfs"):
        digest.update(np.round(getattr(draw, name)[:1000].astype(float), 6).tobytes())
    assert digest.hexdigest()[:16] == "c8fb83955a6f41a2"


def test_other_seeds_draw_other_worlds(draw):
    assert not np.isin(draw_world_a(1500, seed=2).east_km, draw.east_km).any()


def test_transmitters_are_uniform_in_the_box(draw):
    assert (draw.east_km.min(), draw.east_km.max()) == pytest.approx((-75, 100), abs=0.2)
    assert (draw.north_km.min(), draw.north_km.max()) == pytest.approx((-65, 65), abs=0.2)
    assert np.histogram(draw.east_km, bins=5)[0] / len(draw) == pytest.approx(0.2, abs=0.015)
    assert draw.eirp_dbm.mean() == pytest.approx(40, abs=0.3)
    assert draw.eirp_dbm.std() == pytest.approx(5, abs=0.15)


def test_shadowing_is_log_normal_and_independent(draw):
    median = median_snr_db(draw.east_km, draw.north_km, draw.frequency_hz)
    shadowing = draw.snr_db - median - (draw.eirp_dbm - 40)[:, np.newaxis]
    assert shadowing.std(axis=0) == pytest.approx(WORLD_A.shadowing_sigma_db, abs=0.2)
    assert np.corrcoef(shadowing.T) == pytest.approx(np.eye(len(SITES)), abs=0.03)


def test_silence_means_too_weak_or_off(draw):
    strong = draw.snr_db >= HEARING_THRESHOLD_DB
    assert not draw.is_recorded[~strong].any()
    assert draw.is_recorded[strong].mean() == pytest.approx(1 - MISSING_PROBABILITY, abs=0.01)
    assert draw.is_recorded.any(axis=1).all()
    assert draw.is_recorded.sum(axis=1).mean() > 5


def test_nothing_is_louder_than_automatic_gain_allows(draw):
    assert (draw.floor_dbfs + draw.snr_db).max() == pytest.approx(AGC_LIMIT_DBFS)
    assert draw.gain_db.max() <= 20
    assert np.median(draw.gain_db) == pytest.approx(0, abs=1)


def test_gain_and_offset_tell_nothing_about_position(draw):
    quiet = draw.gain_db > -19
    assert abs(np.corrcoef(draw.carrier_offset_hz[:, 0], draw.east_km)[0, 1]) < 0.03
    assert abs(np.corrcoef(draw.gain_db[:, 0][quiet[:, 0]], draw.east_km[quiet[:, 0]])[0, 1]) < 0.05


def test_sessions_are_what_the_draw_says():
    draw = draw_world_a(12, seed=4)
    names = [site.receiver.name for site in SITES]
    for index, session in enumerate(simulate_sessions(12, seed=4)):
        heard = [names.index(r.receiver.name) for r in session.recordings]
        assert heard == np.flatnonzero(draw.is_recorded[index]).tolist()
        east, north = to_plane_km(session.source.latitude, session.source.longitude, origin=ORIGIN)
        assert (east, north) == pytest.approx((draw.east_km[index], draw.north_km[index]), abs=1e-6)
        for site, recording in zip(heard, session.recordings, strict=True):
            assert recording.noise_floor_dbfs == draw.floor_dbfs[index, site]
            assert estimate_snr_db(recording, bandwidth_hz=1e4) == pytest.approx(
                draw.snr_db[index, site], abs=0.6
            )
            assert np.abs(recording.samples).max() < 1


def test_equal_seeds_give_equal_archives():
    first, again = (list(simulate_sessions(3, seed=9)) for _ in range(2))
    assert [pack_session(s).data for s in first] == [pack_session(s).data for s in again]
    longer = list(simulate_sessions(5, seed=9))
    assert pack_session(longer[2]).data == pack_session(first[2]).data


def test_recordings_are_as_many_segments_as_asked_for():
    settings = FeatureSettings(n_fft=64, hop=32, num_frames=8)
    (session,) = simulate_sessions(1, seed=1, settings=settings, num_segments=3)
    assert {len(r.samples) for r in session.recordings} == {3 * settings.segment_samples}
