"""When two trainings compute the same."""

from dataclasses import replace

import pytest

from heimdall_core.domain.job import Priority
from heimdall_core.domain.spec import (
    DatasetRef,
    LimitsSpec,
    ModelRef,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
    spec_to_dict,
)
from heimdall_core.jobs import deduplication
from heimdall_core.jobs.deduplication import content_key

SPEC = TrainJobSpec(kind="train", dataset=DatasetRef(name="north", version=1))
INPUTS = {"dataset_digest": "d" * 64}


def key(spec=SPEC, **inputs):
    return content_key("train", spec_to_dict(spec), {**INPUTS, **inputs})


@pytest.mark.parametrize(
    "change",
    [
        {"training": TrainingSpec(seed=1)},
        {"resources": ResourcesSpec(devices=2)},
        {"init_from": ModelRef(name="localization", version=1)},
    ],
)
def test_another_computation_has_another_key(change):
    assert key(replace(SPEC, **change)) != key()


def test_other_data_or_weights_have_another_key():
    assert key(dataset_digest="e" * 64) != key()
    assert key(init_weights={"sha256": "1"}) != key(init_weights={"sha256": "2"})


def test_other_code_has_another_key(monkeypatch):
    before = key()
    monkeypatch.setattr(deduplication, "code_version", lambda: "1.0+other")
    assert key() != before


@pytest.mark.parametrize(
    "change",
    [
        {"priority": Priority.HIGH},
        {"tags": {"team": "rf"}},
        {"limits": LimitsSpec(max_attempts=1)},
        {"on_duplicate": "return"},
        {"dataset": DatasetRef(name="copy", version=9)},
        {"resources": ResourcesSpec(min_memory_gb=8)},
    ],
)
def test_when_and_for_whom_it_runs_is_no_part_of_the_key(change):
    assert key(replace(SPEC, **change)) == key()


def test_only_trainings_have_a_key():
    assert content_key("import", {}, {}) is None
