import numpy as np
import pytest

from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.level import estimate_snr_db
from heimdall_core.simulation.link_budget import median_snr_db
from heimdall_core.simulation.sites import EAST_KM, NORTH_KM, SITES
from heimdall_core.simulation.world import LEVEL_SECONDS, render, simulate
from heimdall_core.simulation.world_a import draw_world_a
from heimdall_core.simulation.world_b import WORLD_B, draw_world_b

NAMES = [site.receiver.name for site in SITES]


@pytest.fixture(scope="module")
def draw():
    return draw_world_b(6000, seed=1)


@pytest.fixture(scope="module")
def nodes_db():
    return WORLD_B.shadow_map.nodes_db()


def test_places_outside_the_box_have_no_shadow():
    with pytest.raises(ValueError, match="out of bounds"):
        WORLD_B.shadow_map.at([0.0, 101.0], [0.0, 0.0])


def test_the_map_has_the_stated_variance_and_correlation(nodes_db):
    assert nodes_db.std(axis=(0, 1)).mean() == pytest.approx(6.0, abs=0.3)
    for num_km in (1, 5, 10):
        apart = np.mean(nodes_db[: -2 * num_km] * nodes_db[2 * num_km :]) / np.mean(nodes_db**2)
        assert apart == pytest.approx(np.exp(-num_km / 5), abs=0.06)


def test_only_the_twins_share_their_shadows(nodes_db):
    correlation = np.corrcoef(nodes_db.reshape(-1, len(SITES)).T)
    twins = NAMES.index("Aquila di Giaveno"), NAMES.index("Coazze")
    assert correlation[twins] == pytest.approx(0.9, abs=0.02)
    correlation[twins] = correlation[twins[::-1]] = 0.0
    assert np.abs(correlation - np.eye(len(SITES))).max() < 0.2


def test_the_map_is_exact_at_nodes_and_straight_between(nodes_db):
    shadow = WORLD_B.shadow_map.at
    assert shadow(EAST_KM[0] + 3.5, NORTH_KM[0] + 2.0) == pytest.approx(nodes_db[7, 4])
    assert shadow(EAST_KM[1], NORTH_KM[1]) == pytest.approx(nodes_db[-1, -1])
    between = shadow(EAST_KM[0] + 3.75, NORTH_KM[0] + 2.0)
    assert between == pytest.approx((nodes_db[7, 4] + nodes_db[8, 4]) / 2)


def test_transmitters_are_those_of_world_a(draw):
    other = draw_world_a(100, seed=1)
    common = np.intersect1d(draw.row[:90], other.row)
    assert len(common) > 50
    for name in ("east_km", "north_km", "eirp_dbm", "frequency_hz"):
        mine, theirs = (getattr(d, name)[np.isin(d.row, common)] for d in (draw.take(slice(90)), other))
        assert np.array_equal(mine, theirs), name


def test_shadows_stay_where_they_are_between_seeds(draw):
    again = draw_world_b(6000, seed=2)
    for some in (draw, again):
        median = median_snr_db(some.east_km, some.north_km, some.frequency_hz)
        excess = some.snr_db - median - (some.eirp_dbm - 40)[:, None]
        residual = excess - WORLD_B.shadow_map.at(some.east_km, some.north_km)
        mean, variance = WORLD_B.residual_moments_db()
        assert residual.mean() == pytest.approx(mean, abs=0.1)
        assert residual.std() == pytest.approx(np.sqrt(variance), abs=0.1)
        assert excess.std() == pytest.approx(np.hypot(6.0, np.sqrt(variance)), abs=0.3)


def test_fading_has_the_k_factor_and_mean_power_one(draw):
    fading = WORLD_B.fading
    scattered = np.square(np.abs(draw.waves)).sum(axis=-1).mean()
    assert 10 * np.log10(fading.steady_amplitude**2 / scattered) == pytest.approx(8.0, abs=0.1)
    assert np.mean(10 ** (draw.fading_db / 10)) == pytest.approx(1.0, abs=0.01)


def test_the_level_is_the_mean_over_a_segment(draw):
    seconds = np.linspace(0, LEVEL_SECONDS, 4001)
    for i in range(5):
        power = np.square(np.abs(WORLD_B.fading.gain(draw.waves[i], seconds))).mean(axis=1)
        assert 10 * np.log10(power) == pytest.approx(draw.fading_db[i], abs=0.01)


def test_recordings_have_the_drawn_level():
    draw = draw_world_b(12, seed=4)
    for index in range(12):
        session = render(draw, index, seed=4)
        assert session.name == f"world-b-4-{draw.row[index]:06d}"
        heard = np.flatnonzero(draw.is_recorded[index])
        for site, recording in zip(heard, session.recordings, strict=True):
            assert recording.receiver.name == NAMES[site]
            assert estimate_snr_db(recording, bandwidth_hz=1e4) == pytest.approx(
                draw.snr_db[index, site], abs=0.6
            )


def test_envelopes_fade_in_the_course_of_a_recording():
    draw = draw_world_b(20, seed=4)
    site = int(np.flatnonzero(draw.snr_db.max(axis=0) > 25)[0])
    index = int(draw.snr_db[:, site].argmax())
    draw = draw.take(slice(index, index + 1))
    (recording,) = [
        r for r in render(draw, 0, seed=4, num_segments=3).recordings if r.receiver.name == NAMES[site]
    ]
    envelope = np.abs(recording.samples).reshape(24, -1).mean(axis=1)
    assert envelope.std() / envelope.mean() > 0.02


def test_equal_seeds_give_equal_archives():
    first, again = (list(simulate(WORLD_B, 3, seed=9)) for _ in range(2))
    assert [pack_session(s).data for s in first] == [pack_session(s).data for s in again]
    assert pack_session(list(simulate(WORLD_B, 5, seed=9))[2]).data == pack_session(first[2]).data
