import numpy as np
import pytest

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.level import channel_power_dbfs
from heimdall_core.simulation.rendering import render_iq, stream_generator

SETTINGS = FeatureSettings()


def render(signal_dbfs, floor_dbfs, *, offset_hz=0.0, num_samples=4224, seed=5):
    signal = np.atleast_1d(np.asarray(signal_dbfs, float))
    return render_iq(
        stream_generator(seed),
        signal_dbfs=signal,
        floor_dbfs=np.full(len(signal), float(floor_dbfs)),
        offset_hz=np.full(len(signal), offset_hz),
        num_samples=num_samples,
        settings=SETTINGS,
    )


def channel_dbfs(samples):
    return channel_power_dbfs(samples, sample_rate_hz=SETTINGS.sample_rate_hz, bandwidth_hz=1e4)


@pytest.mark.parametrize("offset_hz", [0.0, 700.0, -1300.0])
def test_the_signal_has_exactly_the_stated_power_in_the_channel(offset_hz):
    samples = render([-20.0, -70.0], -200.0, offset_hz=offset_hz)
    assert [channel_dbfs(s) for s in samples] == pytest.approx([-20.0, -70.0], abs=0.03)


def test_noise_has_the_stated_power_in_the_channel():
    samples = render([-np.inf], -60.0, num_samples=200_000)[0]
    assert channel_dbfs(samples) == pytest.approx(-60.0, abs=0.05)


def test_noise_is_white_over_the_whole_rate():
    samples = render([-np.inf], -60.0, num_samples=200_000)[0]
    assert 10 * np.log10(np.mean(np.abs(samples) ** 2)) == pytest.approx(-60 + 10 * np.log10(1.25), abs=0.05)


def test_one_decibel_more_signal_moves_only_the_signal():
    weak, strong = render([-40.0], -300.0), render([-39.0], -300.0)
    assert strong / weak == pytest.approx(10 ** (1 / 20), rel=1e-3)


def test_the_carrier_turns_at_its_offset():
    still, turning = render([0.0], -300.0), render([0.0], -300.0, offset_hz=100.0)
    phase = np.unwrap(np.angle(turning[0] * still[0].conj()))
    slope = np.polyfit(np.arange(len(phase)) / SETTINGS.sample_rate_hz, phase, 1)[0]
    assert slope / (2 * np.pi) == pytest.approx(100.0, abs=1e-3)


def test_all_receivers_hear_the_same_speech_in_different_noise():
    first, second = render([0.0, 0.0], -40.0)
    coherence = np.abs(np.vdot(first, second)) / (np.linalg.norm(first) * np.linalg.norm(second))
    assert coherence > 0.999
    assert not np.array_equal(first, second)


def test_equal_keys_give_equal_samples_and_others_different_ones():
    assert np.array_equal(render([-20], -60), render([-20], -60))
    assert not np.array_equal(render([-20], -60), render([-20], -60, seed=6))
