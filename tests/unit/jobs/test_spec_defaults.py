"""Specifications beside their defaults: which members were chosen."""

import json

import pytest

from api.schemas.job_specs import describe_member
from heimdall_core.domain.job import JobKind
from heimdall_core.domain.spec import (
    DatasetRef,
    EvaluateJobSpec,
    ExportJobSpec,
    ExportOutput,
    ExportSource,
    ImportJobSpec,
    ModelRef,
    RadioMapSpec,
    TrainingSpec,
    TrainJobSpec,
    spec_to_dict,
)
from heimdall_core.jobs.spec_defaults import spec_members

LEAST = [
    TrainJobSpec(kind="train", dataset=DatasetRef(name="north", version=1)),
    ExportJobSpec(kind="export", source=ExportSource(job_id="job_1")),
    EvaluateJobSpec(
        kind="evaluate", model=ModelRef(name="m", version=1), dataset=DatasetRef(name="n", version=1)
    ),
    ImportJobSpec(kind="import", upload_id="upl_1"),
]


def members_of(spec):
    return spec_members(JobKind(spec.kind), json.loads(json.dumps(spec_to_dict(spec))))


@pytest.mark.parametrize("spec", LEAST, ids=lambda spec: spec.kind)
def test_what_a_request_need_not_say_is_as_by_default(spec):
    members = members_of(spec)
    assert members
    assert all(member.is_default or member.is_required for member in members)
    assert not any(member.is_default and member.is_required for member in members)


def test_what_a_request_says_otherwise_differs_also_where_it_is_null_or_a_list_or_was_nothing_before():
    training = TrainingSpec(early_stopping_patience=None, radio_map=RadioMapSpec(reach_m=100.0))
    members = members_of(TrainJobSpec(kind="train", dataset=DatasetRef(name="north"), training=training))
    changed = {m.pointer: (m.value, m.default) for m in members if not (m.is_default or m.is_required)}
    assert changed == {
        "/training/early_stopping_patience": (None, 10),
        "/training/radio_map/share": (0.75, None),
        "/training/radio_map/reach_m": (100.0, None),
        "/training/radio_map/fuse": (False, None),
    }
    spec = ExportJobSpec(
        kind="export", source=ExportSource(job_id="j"), outputs=(ExportOutput(), ExportOutput(opset=17))
    )
    (outputs,) = [m for m in members_of(spec) if not (m.is_default or m.is_required)]
    assert (outputs.pointer, len(outputs.value), len(outputs.default)) == ("/outputs", 2, 1)


def test_members_stand_in_the_order_of_their_definition():
    pointers = [member.pointer for member in members_of(LEAST[0])]
    assert pointers[:4] == ["/kind", "/dataset/name", "/dataset/version", "/model/name"]
    assert pointers.index("/training/epochs") < pointers.index("/training/batch_size")
    assert pointers[-1] == "/on_duplicate"


def test_a_members_meaning_is_found_through_references_and_alternatives():
    assert "Passes over" in (describe_member(JobKind.TRAIN, "/training/epochs") or "")
    assert describe_member(JobKind.TRAIN, "/training/radio_map/share")
    assert describe_member(JobKind.TRAIN, "/init_from/name")
    assert describe_member(JobKind.TRAIN, "/tags/anything") is None
    assert describe_member(JobKind.TRAIN, "/training/epochs/deeper") is None
