import struct
from datetime import UTC, datetime

import numpy as np
import pytest

from heimdall_core.evaluation.spectrogram_plot import (
    CHANNEL_BANDWIDTH_HZ,
    by_strength,
    describe_recording,
    draw_session,
    over_noise_db,
    power_density,
    spread,
)
from heimdall_core.recordings.session import (
    UNKNOWN_SOURCE,
    IqRecording,
    ReceiverSite,
    RecordedSession,
    Source,
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)
RATE_HZ = 12_500.0


def recording(samples, *, name="Torino", floor_dbfs=None, rate_hz=RATE_HZ, longitude=7.7) -> IqRecording:
    return IqRecording(
        receiver=ReceiverSite(name=name, latitude=45.0, longitude=longitude),
        samples=np.asarray(samples, np.complex64),
        sample_rate_hz=rate_hz,
        center_frequency_hz=145e6,
        started_at=NOW,
        noise_floor_dbfs=floor_dbfs,
    )


def session_of(*recordings: IqRecording) -> RecordedSession:
    source = Source(name="beacon", frequency_hz=145e6, latitude=45.2, longitude=7.9, power_dbm=40.0)
    return RecordedSession(name="first", source=source, started_at=NOW, recordings=recordings)


def noise(num_samples: int, *, power: float = 1e-6, seed: int = 0):
    rng = np.random.default_rng(seed)
    parts = rng.normal(0.0, np.sqrt(power / 2), (num_samples, 2))
    return parts[:, 0] + 1j * parts[:, 1]


def tone(num_samples: int, offset_hz: float, *, amplitude: float = 0.1):
    return amplitude * np.exp(2j * np.pi * offset_hz * np.arange(num_samples) / RATE_HZ)


def test_the_density_of_white_noise_is_its_power_over_the_bandwidth():
    density = power_density(noise(20_000, power=1e-4).astype(np.complex64), RATE_HZ)
    assert density.mean() == pytest.approx(1e-4 / RATE_HZ, rel=0.05)


@pytest.mark.parametrize("stated", [True, False])
def test_noise_alone_lies_at_0_db_whether_its_floor_is_stated_or_not(stated):
    floor_dbfs = 10 * np.log10(1e-6 * CHANNEL_BANDWIDTH_HZ / RATE_HZ) if stated else None
    found = over_noise_db(recording(noise(20_000), floor_dbfs=floor_dbfs))
    assert 10 * np.log10(np.mean(10 ** (found / 10))) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("offset_hz", [-3000.0, 0.0, 2000.0])
def test_a_tone_is_brightest_at_its_offset(offset_hz):
    found = over_noise_db(recording(noise(8000) + tone(8000, offset_hz)))
    brightest = int(found.mean(axis=1).argmax())
    assert (brightest / len(found) - 0.5) * RATE_HZ == pytest.approx(offset_hz, abs=RATE_HZ / len(found))


@pytest.mark.parametrize("num_samples", [1, 40, 500_000])
def test_recordings_of_any_length_become_no_more_than_a_picture_can_show(num_samples):
    bins, frames = power_density(noise(num_samples).astype(np.complex64), RATE_HZ).shape
    assert 64 <= bins <= 512
    assert 1 <= frames <= 702


def test_a_recording_is_described_with_level_snr_and_distance():
    floor_dbfs = 10 * np.log10(1e-6 * CHANNEL_BANDWIDTH_HZ / RATE_HZ)
    heard = recording(noise(8000) + tone(8000, 1000.0), floor_dbfs=floor_dbfs)
    panel = describe_recording(heard, session_of(heard))
    assert panel.level_dbfs == pytest.approx(-20.0, abs=0.1)
    assert panel.snr_db == pytest.approx(-20.0 - floor_dbfs, abs=0.2)
    assert panel.duration_ms == pytest.approx(640.0)
    assert 25 < panel.distance_km < 30


def test_silence_and_an_unknown_noise_floor_are_drawn_too(tmp_path):
    silent = recording(np.zeros(1000))
    session = session_of(silent)
    path = draw_session(tmp_path / "silent.png", session, [describe_recording(silent, session)])
    assert path.stat().st_size > 10_000


def test_a_recording_without_samples_is_refused():
    empty = recording([])
    with pytest.raises(ValueError, match="Torino has no samples"):
        describe_recording(empty, session_of(empty))


def test_the_strongest_come_first_and_the_unknown_last():
    heard = [
        recording(noise(4000) + tone(4000, 0.0, amplitude=a), name=str(a), floor_dbfs=-61.0)
        for a in (0.01, 0.1)
    ]
    unknown = recording(np.zeros(4000), name="silent")
    session = session_of(*heard, unknown)
    panels = [describe_recording(r, session) for r in session.recordings]
    assert [p.receiver for p in by_strength(panels)] == ["0.1", "0.01", "silent"]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_the_picture_grows_with_the_receivers(tmp_path, count):
    session = session_of(
        *(recording(noise(2000, seed=n), name=f"r{n}", longitude=7.0 + 0.2 * n) for n in range(count))
    )
    path = draw_session(
        tmp_path / "x.png", session, [describe_recording(r, session) for r in session.recordings]
    )
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    assert width == pytest.approx(130 * 4.1 * min(3, max(2, count)), abs=2)
    assert height == pytest.approx(130 * (2.7 + 2.35 * -(-count // min(3, count))), abs=2)


@pytest.mark.parametrize(
    ("values", "moved"),
    [([0.0, 5.0], [0.0, 5.0]), ([1.0, 1.0], [0.5, 1.5]), ([0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]), ([], [])],
)
def test_names_are_moved_as_little_as_it_takes_not_to_overlap(values, moved):
    assert spread(np.array(values), least=1.0).tolist() == pytest.approx(moved)


def test_a_transmitter_that_nobody_has_located_yet_is_drawn_without_a_place(tmp_path):
    heard = recording(noise(8000)), recording(noise(8000), name="Genova", longitude=8.9)
    unlocated = RecordedSession(name="first", source=UNKNOWN_SOURCE, started_at=NOW, recordings=heard)
    assert describe_recording(heard[0], unlocated).distance_km is None
    panels = [describe_recording(one, unlocated) for one in heard]
    draw_session(tmp_path / "unknown.png", unlocated, panels)
    assert (tmp_path / "unknown.png").stat().st_size > 10_000
