"""The small pure parts: schedule, percentage, scale, plain values, random numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.job import JobPhase
from heimdall_core.training.network import Construction, load_network, plane_scale_km, save_weights
from heimdall_core.training.provenance import flatten, to_plain
from heimdall_core.training.randomness import Stream, generator, step_seed
from heimdall_core.training.reporting import JobReporter
from heimdall_core.training.schedule import warmup_cosine


@given(warmup=st.integers(0, 50), rest=st.integers(1, 500))
def test_the_learning_rate_rises_to_its_greatest_and_falls_to_a_hundredth(warmup: int, rest: int) -> None:
    values = [
        warmup_cosine(s, warmup_steps=warmup, total_steps=warmup + rest) for s in range(warmup + rest + 1)
    ]
    assert values[warmup] == pytest.approx(1.0)
    assert values[: warmup + 1] == sorted(values[: warmup + 1])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
    assert values[-1] == pytest.approx(0.01)
    assert min(values) > 0


@given(st.lists(st.tuples(st.sampled_from(list(JobPhase)), st.floats(0, 2)), max_size=30))
def test_the_percentage_never_goes_back_and_never_passes_a_hundred(
    steps: list[tuple[JobPhase, float]],
) -> None:
    class Percentages:
        def __init__(self) -> None:
            self.seen = [0.0]

        def progress(self, progress: Any) -> None:
            self.seen.append(progress.percent)

        def phase(self, phase: JobPhase) -> None: ...

    target: Any = Percentages()
    reporter = JobReporter(target)
    for phase, fraction in steps:
        reporter.phase(phase)
        reporter.advance(fraction)
    assert target.seen == sorted(target.seen)
    assert target.seen[-1] <= 100.0


def test_how_fast_epochs_were_stays_told_after_the_training() -> None:
    class Told:
        def __init__(self) -> None:
            self.last: Any = None

        def progress(self, progress: Any) -> None:
            self.last = progress

        def phase(self, phase: JobPhase) -> None: ...

    target: Any = Told()
    reporter = JobReporter(target)
    reporter.phase(JobPhase.TRAINING)
    counts = {
        "epoch": 5,
        "epochs": 5,
        "step": 10,
        "steps": 10,
        "samples_per_second": 80.0,
        "eta_seconds": 0.0,
    }
    reporter.advance(1.0, **counts)
    assert target.last.to_dict().items() >= {"percent": 85.0, **counts}.items()
    reporter.phase(JobPhase.REGISTERING)
    reporter.advance(1.0)
    later = {"percent": 100.0, "epoch": 5, "epochs": 5, "samples_per_second": 80.0}
    passed = {"step": None, "steps": None, "eta_seconds": None}
    assert target.last.to_dict().items() >= (later | passed).items()


@pytest.mark.parametrize(("spread_km", "scale"), [(50.0, 50.0), (0.7, 0.7), (0.0, 0.01), (123.4, 120.0)])
def test_the_scale_follows_the_targets(spread_km: float, scale: float) -> None:
    targets = np.array([[spread_km, -spread_km], [-spread_km, spread_km]], np.float32)
    assert plane_scale_km(targets) == pytest.approx(scale)


def test_what_is_not_finite_becomes_null() -> None:
    value = {"a": float("nan"), "b": [np.float32(1.5), np.inf], 3: np.arange(2), "c": (True, None, "x")}
    plain = to_plain(value)
    assert plain == {"a": None, "b": [1.5, None], "3": [0, 1], "c": [True, None, "x"]}
    json.dumps(plain, allow_nan=False)


def test_nested_names_are_joined_by_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_streams_and_places_have_numbers_of_their_own() -> None:
    places = [(Stream.ITEM, 0, 0, 0), (Stream.ITEM, 0, 0, 1), (Stream.ITEM, 0, 1, 0), (Stream.ITEM, 1, 0, 0)]
    others = [(Stream.ORDER, 0, 0), (Stream.ORDER, 0), (Stream.NOISE, 0)]
    drawn = {generator(stream, *place).random() for stream, *place in [*places, *others]}
    assert len(drawn) == len(places) + len(others)
    assert len({step_seed(s, e, b) for s in range(3) for e in range(3) for b in range(3)}) == 27


def test_saved_weights_come_back_with_their_calibration(tmp_path: Path) -> None:
    construction = Construction(
        num_receivers=2, backbone="micro", covariance="full", origin=(45.0, 8.0), plane_scale_km=3.0
    )
    net = construction.build().eval()
    net.set_calibration(1.7)
    save_weights(tmp_path / "best.ckpt", net, construction, epoch=3)
    again = load_network(tmp_path / "best.ckpt")
    x = torch.randn(2, 2, 128, 32)
    for left, right in zip(net(x), again(x), strict=True):
        assert torch.equal(left, right)


def test_a_damaged_file_of_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_bytes(b"garbage")
    with pytest.raises(DataError) as raised:
        load_network(tmp_path / "best.ckpt")
    assert raised.value.stable_code == "checkpoint_unreadable"
