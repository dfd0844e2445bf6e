"""What like jobs tell about the next one."""

import pytest

from heimdall_core.jobs.expectations import Pace
from heimdall_core.jobs.spans import Span, is_like, span_of


@pytest.mark.parametrize(
    ("progress", "num_train"),
    [
        (None, 80),
        ({}, 80),
        ({"samples_per_second": 0, "epoch": 3}, 80),
        ({"samples_per_second": 10, "epoch": 3}, None),
    ],
)
def test_a_job_that_reported_too_little_tells_nothing(progress, num_train):
    assert Pace.of(progress, num_train, 100.0) is None


def test_a_pace_foretells_the_seconds_of_more_samples():
    pace = Pace.of({"samples_per_second": 100.0, "epoch": 10}, 80, 30.0)
    assert pace.other_seconds == 22.0
    assert pace.seconds_for(80 * 10) == 30.0
    assert pace.seconds_for(80 * 100) == 102.0


def test_the_time_of_an_epoch_counts_its_validation_too():
    pace = Pace.of({"samples_per_second": 100.0, "epoch": 10}, 80, 30.0, seconds_per_epoch=2.0)
    assert pace.other_seconds == 10.0
    assert pace.seconds_for(160 * 10) == 50.0


def test_spans_of_nothing_one_and_many():
    assert span_of([]) is None
    assert span_of([4.0]) == Span(p50=4.0, p90=4.0)
    assert span_of([1.0, 2.0, 3.0]) == Span(p50=2.0, p90=2.8)


def test_like_is_the_same_backbone_on_as_many_devices():
    spec = {"model": {"backbone": "micro"}, "resources": {"devices": 1}}
    assert is_like(spec, spec)
    assert not is_like(spec, {"model": {"backbone": "tiny"}, "resources": {"devices": 1}})
    assert not is_like(spec, {"model": {"backbone": "micro"}, "resources": {"devices": 2}})
