"""Which files a job may ask for."""

from typing import Any

import pytest

from heimdall_core.domain.errors import InvalidRequest, NotSupportedYet
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportJobSpec,
    ExportOutput,
    ExportSource,
    ExportSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.support import refuse_unsupported


def asking_for(*outputs: ExportOutput) -> list[Any]:
    return [
        TrainJobSpec(kind="train", dataset=DatasetRef(name="north"), export=ExportSpec(outputs=outputs)),
        ExportJobSpec(kind="export", source=ExportSource(job_id="job_1"), outputs=outputs),
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_several_files_of_every_precision_with_and_without_the_front_end_are_accepted(number: int) -> None:
    outputs = [
        ExportOutput(precision=precision, include_frontend=takes_iq)
        for precision in ("fp32", "fp16", "int8")
        for takes_iq in (False, True)
    ]
    refuse_unsupported(asking_for(*outputs, ExportOutput(opset=23))[number])


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (ExportOutput(precision="int8", opset=21), "int8 goes up to opset 20"),
        (ExportOutput(include_frontend=True, opset=21), "include_frontend goes up to opset 20"),
    ],
)
@pytest.mark.parametrize(("number", "pointer"), [(0, "/export/outputs/1/opset"), (1, "/outputs/1/opset")])
def test_an_opset_that_cannot_be_had_is_refused_by_name(
    output: ExportOutput, what: str, number: int, pointer: str
) -> None:
    with pytest.raises(NotSupportedYet) as refusal:
        refuse_unsupported(asking_for(ExportOutput(), output)[number])
    (problem,) = refusal.value.problems
    assert problem.pointer == pointer
    assert problem.detail.startswith(what)


def test_the_same_file_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        refuse_unsupported(asking_for(ExportOutput(opset=17), ExportOutput(), ExportOutput())[1])
    assert [problem.pointer for problem in refusal.value.problems] == ["/outputs/2"]
