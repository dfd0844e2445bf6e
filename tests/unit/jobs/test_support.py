"""What a look at a spec alone shows to be impossible."""

from dataclasses import replace

import pytest

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportSpec,
    ModelRef,
    ModelSpec,
    RadioMapSpec,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.support import BACKBONES_WITHOUT_WEIGHTS, refuse_bad_start, refuse_unsupported

CHAMPION = ModelRef(name="localization")


def training(*, init_from: ModelRef | None = None, **model: object) -> TrainJobSpec:
    return TrainJobSpec(
        kind="train",
        dataset=DatasetRef(name="north"),
        model=ModelSpec(**model),  # type: ignore[arg-type]
        init_from=init_from,
    )


@pytest.mark.parametrize(
    ("spec", "pointers"),
    [
        (training(backbone="micro", pretrained=True), ["/model/pretrained"]),
        (training(backbone="atto", pretrained=True, init_from=CHAMPION), ["/model/pretrained"]),
        (training(backbone="atto", freeze_backbone=True), ["/model/freeze_backbone"]),
    ],
)
def test_a_contradiction_is_refused_by_the_name_of_its_field(spec: TrainJobSpec, pointers: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        refuse_bad_start(spec)
    assert [problem.pointer for problem in refusal.value.problems] == pointers
    assert refusal.value.stable_code == "bad_start"


@pytest.mark.parametrize(
    "spec",
    [
        training(),
        training(backbone="atto", pretrained=True, freeze_backbone=True),
        training(backbone="micro", init_from=CHAMPION, freeze_backbone=True),
    ],
)
def test_every_other_start_is_accepted(spec: TrainJobSpec) -> None:
    refuse_bad_start(spec)


def test_a_mixture_is_not_fused_with_a_radio_map() -> None:
    spec = TrainJobSpec(
        kind="train",
        dataset=DatasetRef(name="north"),
        model=ModelSpec(covariance="full", components=4),
        training=TrainingSpec(radio_map=RadioMapSpec(reach_m=200, fuse=True)),
    )
    with pytest.raises(InvalidRequest, match=r"model\.components 1") as refusal:
        refuse_unsupported(spec)
    assert [problem.pointer for problem in refusal.value.problems] == ["/training/radio_map/fuse"]


def test_the_median_of_one_gaussian_is_refused_with_the_remedy_unless_it_is_fused() -> None:
    spec = TrainJobSpec(
        kind="train", dataset=DatasetRef(name="north"), model=ModelSpec(point_estimate="median")
    )
    with pytest.raises(InvalidRequest, match="components above 1") as refusal:
        refuse_unsupported(spec)
    assert [problem.pointer for problem in refusal.value.problems] == ["/model/point_estimate"]
    fused = TrainingSpec(radio_map=RadioMapSpec(reach_m=200, fuse=True))
    refuse_unsupported(replace(spec, training=fused))
    refuse_unsupported(replace(spec, model=replace(spec.model, covariance="full", components=2)))


def test_fields_that_contradict_one_another_are_invalid_and_all_named() -> None:
    spec = TrainJobSpec(
        kind="train",
        dataset=DatasetRef(name="north"),
        training=TrainingSpec(precision="fp16", augment=False, radio_map=RadioMapSpec(reach_m=200)),
        resources=ResourcesSpec(accelerator="cpu"),
        export=ExportSpec(enabled=False),
    )
    with pytest.raises(InvalidRequest) as refusal:
        refuse_unsupported(spec)
    assert [problem.pointer for problem in refusal.value.problems] == [
        "/training/precision",
        "/training/radio_map",
        "/register/enabled",
    ]
    assert refusal.value.stable_code == "invalid_request"
    assert "set training.augment true" in refusal.value.message


def test_the_backbones_without_weights_are_those_of_the_networks() -> None:
    from heimdall_core.networks.backbone import SIZES

    assert {name for name, size in SIZES.items() if size.weights is None} == BACKBONES_WITHOUT_WEIGHTS
