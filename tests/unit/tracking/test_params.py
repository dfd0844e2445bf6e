"""Whatever a run is told becomes names and texts that MLflow takes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import numpy as np
from pydantic import BaseModel, SecretStr

from heimdall_core.tracking.params import (
    NAME_LENGTH,
    PARAM_LENGTH,
    flatten_params,
    safe_name,
    safe_tags,
)


class Colour(Enum):
    RED = "red"


@dataclass
class Output:
    opset: int
    precision: str


class Access(BaseModel):
    region: str
    secret_access_key: SecretStr


def test_nested_values_get_dotted_names_and_all_become_text() -> None:
    flat = flatten_params(
        {
            "training": {"epochs": 3, "betas": (0.9, 0.99), "off": None, "on": True, "empty": {}},
            "outputs": [Output(18, "fp32"), Output(18, "int8")],
            "colour": Colour.RED,
            "mean": np.float32(0.5),
            "rows": np.arange(3),
            "path": Path("/tmp/x"),
            "at": datetime(2026, 1, 2, tzinfo=UTC),
            "names": {"b", "a"},
        }
    )
    assert flat.values == {
        "training.epochs": "3",
        "training.betas": "[0.9, 0.99]",
        "training.off": "None",
        "training.on": "True",
        "training.empty": "{}",
        "outputs.0.opset": "18",
        "outputs.0.precision": "fp32",
        "outputs.1.opset": "18",
        "outputs.1.precision": "int8",
        "colour": "red",
        "mean": "0.5",
        "rows": "[0, 1, 2]",
        "path": "/tmp/x",
        "at": "2026-01-02 00:00:00+00:00",
        "names": '["a", "b"]',
    }
    assert flat.cut == ()


def test_secrets_are_masked_by_name_by_type_and_within_texts() -> None:
    flat = flatten_params(
        {
            "db": {"password": "hunter2", "url": "postgresql://me:hunter2@db/x"},
            "s3": Access(region="x", secret_access_key=SecretStr("hunter2")),
            "bare": SecretStr("hunter2"),
            "listed": [["token=hunter2"]],
        }
    )
    assert "hunter2" not in str(flat)
    assert flat.values["db.password"] == "***"
    assert flat.values["s3.region"] == "x"
    assert safe_tags({"note": "secret: hunter2", "api_key": "hunter2"}) == {
        "note": "secret: ***",
        "api_key": "***",
    }


def test_a_long_value_is_cut_and_says_so() -> None:
    flat = flatten_params({"notes": "x" * 7000, "short": "y"})
    assert len(flat.values["notes"]) == PARAM_LENGTH
    assert flat.values["notes"].endswith("... (cut, 7000 characters)")
    assert flat.cut == ("notes",)


def test_names_hold_to_what_mlflow_takes_and_stay_apart() -> None:
    assert safe_name("val loss [m²]") == "val loss _m²_"
    assert safe_name("/a//../b") == "a/_/b"
    long = safe_name("n" * 300)
    assert len(long) == NAME_LENGTH
    assert long != safe_name("n" * 301)
    assert len(flatten_params({"a?": 1, "a!": 2}).values) == 2


def test_no_parameters_are_none() -> None:
    assert flatten_params({}).values == {}
