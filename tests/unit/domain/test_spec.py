"""The job specification at the edge: bounds, unknown fields, and the way into a row and back."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from heimdall_core.domain.spec import ImportJobSpec, TrainJobSpec, spec_to_dict, train_spec_from_dict

TRAIN: TypeAdapter[TrainJobSpec] = TypeAdapter(TrainJobSpec)
SMALLEST = {"kind": "train", "dataset": {"name": "north"}}


def test_every_field_but_kind_and_dataset_has_a_default() -> None:
    spec = TRAIN.validate_python(SMALLEST)
    assert spec.training.learning_rate == 1e-3
    assert spec.export.outputs[0].opset == 18
    assert spec.priority == "normal"


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"colour": "red"}, ("colour",)),
        ({"training": {"epocs": 3}}, ("training", "epocs")),
        ({"training": {"epochs": 0}}, ("training", "epochs")),
        ({"training": {"learning_rate": 0}}, ("training", "learning_rate")),
        ({"model": {"backbone": "huge"}}, ("model", "backbone")),
        ({"export": {"outputs": []}}, ("export", "outputs")),
        ({"limits": {"max_attempts": 21}}, ("limits", "max_attempts")),
        ({"tags": {"": "empty"}}, ("tags", "", "[key]")),
        ({"dataset": {"name": ""}}, ("dataset", "name")),
        ({"init_from": {"version": 3}}, ("init_from", "name")),
        ({"init_from": {"name": "localization", "version": 0}}, ("init_from", "version")),
    ],
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, Any], location: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refusal:
        TRAIN.validate_python(SMALLEST | change)
    assert [error["loc"] for error in refusal.value.errors()] == [location]


def test_a_spec_survives_the_way_into_the_table_and_back() -> None:
    spec = TRAIN.validate_python(
        SMALLEST
        | {
            "model": {"backbone": "micro", "covariance": "full"},
            "training": {"epochs": 3, "gradient_clip": None},
            "export": {"outputs": [{"opset": 19}]},
            "tags": {"site": "giaveno"},
            "priority": "high",
            "init_from": {"name": "localization", "version": 3},
        }
    )
    stored = TypeAdapter(dict[str, Any]).validate_json(
        TypeAdapter(dict[str, Any]).dump_json(spec_to_dict(spec))
    )
    assert train_spec_from_dict(stored) == spec


def test_an_import_names_its_upload() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ImportJobSpec).validate_python({"kind": "import"})


def test_a_mixture_of_independent_axes_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValidationError, match='covariance "full"') as refusal:
        TypeAdapter(TrainJobSpec).validate_python(
            {"kind": "train", "dataset": {"name": "a", "version": 1}, "model": {"components": 4}}
        )
    assert refusal.value.errors()[0]["loc"] == ("model",)
