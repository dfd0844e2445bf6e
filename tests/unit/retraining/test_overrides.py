import pytest

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportSpec,
    ModelSpec,
    TrainingSpec,
    TrainJobSpec,
    spec_to_dict,
)
from heimdall_core.retraining.overrides import REASON_TAG, merge_patch, override, refuse_fixed, with_reason

CHAMPION = TrainJobSpec(
    kind="train",
    dataset=DatasetRef(name="northwest", version=3),
    model=ModelSpec(name="north", backbone="micro"),
    training=TrainingSpec(epochs=7),
    tags={"site": "aosta"},
)


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patches_merge_as_the_examples_of_rfc_7396(target, patch, merged):
    assert merge_patch(target, patch) == merged


@pytest.mark.parametrize(
    "override_of_all", [{"model": None}, {"model": {}}, {"training": None}, {"export": None}]
)
def test_a_member_that_is_taken_away_returns_to_its_default_and_the_model_keeps_its_name(override_of_all):
    spec = override(CHAMPION, override_of_all)
    assert spec.model.name == "north"
    assert spec.export == ExportSpec()
    assert spec.training.epochs == (100 if "training" in override_of_all else 7)
    assert spec_to_dict(CHAMPION)["training"]["epochs"] == 7


def test_every_wrong_field_is_named_at_once_whatever_its_name_holds():
    with pytest.raises(InvalidRequest) as refusal:
        override(CHAMPION, {"training": {"epochs": 0, "seed": -1}, "a/b~c": 1})
    pointers = {problem.pointer for problem in refusal.value.problems}
    assert pointers == {"/overrides/training/epochs", "/overrides/training/seed", "/overrides/a~1b~0c"}


def test_every_fixed_member_is_named_at_once_with_what_to_do():
    with pytest.raises(InvalidRequest) as refusal:
        refuse_fixed({"kind": "train", "model": {"name": "north", "backbone": "atto"}, "not_before": None})
    assert refusal.value.stable_code == "not_overridable"
    pointers = [problem.pointer for problem in refusal.value.problems]
    assert pointers == ["/overrides/kind", "/overrides/not_before", "/overrides/model/name"]
    assert all(problem.detail for problem in refusal.value.problems)


def test_a_long_reason_fits_its_tag():
    assert with_reason(CHAMPION, "x" * 300).tags == {"site": "aosta", REASON_TAG: "x" * 255}
