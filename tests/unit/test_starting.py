"""Trainings that do not start from their seed: from another training's weights, with a frozen backbone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import JobStopped, StoredObject
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportSpec,
    ModelRef,
    ModelSpec,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.networks.stem import STEM
from heimdall_core.pipeline import TrainingPipeline
from heimdall_core.storage import FolderStore
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import read_weights

pytestmark = pytest.mark.slow

SPEC = TrainJobSpec(
    kind="train",
    dataset=DatasetRef(name="tiny", version=1),
    model=ModelSpec(backbone="micro"),
    training=TrainingSpec(epochs=2, batch_size=8, early_stopping_patience=None),
    resources=ResourcesSpec(accelerator="cpu"),
    export=ExportSpec(enabled=False),
)
WARM = replace(SPEC, init_from=ModelRef(name="localization", version=3))
LONG = replace(SPEC, training=replace(SPEC.training, epochs=12))


@pytest.fixture(scope="module")
def make_pipeline(
    tiny_dataset: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., TrainingPipeline]:
    cache_dir = tmp_path_factory.mktemp("cache")

    def make(name: str, reporter: Any, **changes: Any) -> TrainingPipeline:
        torch.set_num_threads(1)
        values: dict[str, Any] = {
            "spec": SPEC,
            "manifest": tiny_dataset[1],
            "store": FolderStore(tiny_dataset[0]),
            "output_uri": f"s3://models/jobs/{name}/a1",
            "workspace": tmp_path_factory.mktemp(name),
            "cache_dir": cache_dir,
            "run_name": name,
            "tags": {},
        }
        return TrainingPipeline(**{**values, "reporter": reporter, **changes})

    return make


@pytest.fixture(scope="module")
def smaller(tiny_dataset: tuple[Path, Manifest]) -> Manifest:
    """The same sessions without one receiver, which moves the origin."""
    manifest = tiny_dataset[1]
    kept = manifest.receivers[1:]
    names = {receiver.name for receiver in kept}
    sessions = tuple(
        replace(s, recordings=tuple(r for r in s.recordings if r.receiver in names))
        for s in manifest.sessions
    )
    return replace(
        manifest,
        receivers=kept,
        sessions=tuple(s for s in sessions if s.recordings),
        origin_latitude=manifest.origin_latitude - 0.05,
    )


@pytest.fixture(scope="module")
def source(make_pipeline: Callable[..., TrainingPipeline], make_reporter: Any) -> StoredObject:
    """The weights of a training on all receivers."""
    reporter = make_reporter()
    make_pipeline("source", reporter, spec=LONG).run()
    weights: StoredObject = next(a.object for a in reporter.artifacts if a.name == "best.ckpt")
    return weights


def weights_of(reporter: Any, tiny_dataset: tuple[Path, Manifest]) -> dict[str, torch.Tensor]:
    uri = next(a.object.uri for a in reporter.artifacts if a.name == "best.ckpt")
    path = tiny_dataset[0] / uri.removeprefix("s3://")
    return read_weights(path).weights


def first_val_loss(reporter: Any) -> float:
    return float(next(values["val_loss"] for _, _, values in reporter.points if "val_loss" in values))


def test_weights_of_another_backbone_end_the_training_before_its_first_step(
    make_pipeline: Callable[..., TrainingPipeline], source: StoredObject, reporter: Any
) -> None:
    spec = replace(WARM, model=ModelSpec(backbone="atto"))
    with pytest.raises(DataError) as refusal:
        make_pipeline("misfit", reporter, spec=spec, init_weights=source).run()
    assert refusal.value.stable_code == "init_weights_do_not_fit"
    assert not reporter.points


def test_a_warm_start_on_fewer_receivers_begins_where_a_cold_one_is_not_yet(
    make_pipeline: Callable[..., TrainingPipeline],
    make_reporter: Any,
    tiny_dataset: tuple[Path, Manifest],
    smaller: Manifest,
    source: StoredObject,
) -> None:
    warm, cold = make_reporter(), make_reporter()
    make_pipeline("warm", warm, spec=WARM, manifest=smaller, init_weights=source).run()
    make_pipeline("cold", cold, manifest=smaller).run()
    (started,) = warm.events_named("warm_started")
    assert (started["model"], started["version"]) == ("localization", 3)
    assert started["receivers_new"] == []
    assert started["receivers_gone"] == [tiny_dataset[1].receivers[0].name]
    assert started["origin_shift_km"] == pytest.approx(5.56, abs=0.05)
    assert not cold.events_named("warm_started")
    assert first_val_loss(warm) < first_val_loss(cold) - 0.2
    manifest = next(a.object.uri for a in warm.artifacts if a.name == "manifest.json")
    provenance = json.loads(FolderStore(tiny_dataset[0]).get_bytes(manifest))
    assert provenance["init_from"] == {
        "name": "localization",
        "version": 3,
        "uri": source.uri,
        "sha256": source.sha256,
    }


def test_a_resumed_warm_start_ends_as_the_uninterrupted_one_and_does_not_start_again(
    make_pipeline: Callable[..., TrainingPipeline],
    make_reporter: Any,
    tiny_dataset: tuple[Path, Manifest],
    smaller: Manifest,
    source: StoredObject,
) -> None:
    whole, stopped, resumed = make_reporter(), make_reporter(stop_at_step=3), make_reporter()
    given = {"spec": WARM, "manifest": smaller, "init_weights": source}
    make_pipeline("whole", whole, **given).run()
    with pytest.raises(JobStopped):
        make_pipeline("stopped", stopped, **given).run()
    make_pipeline("resumed", resumed, **given, resume_from=stopped.checkpoints[-1]).run()
    assert resumed.events_named("resumed")
    assert not resumed.events_named("warm_started")
    expected, found = weights_of(whole, tiny_dataset), weights_of(resumed, tiny_dataset)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_warm_started_model_can_be_exported_again_without_its_source(
    make_pipeline: Callable[..., TrainingPipeline],
    make_reporter: Any,
    tiny_dataset: tuple[Path, Manifest],
    smaller: Manifest,
    source: StoredObject,
) -> None:
    first, again = make_reporter(), make_reporter()
    result = make_pipeline("once", first, spec=WARM, manifest=smaller, init_weights=source).run()
    uri = next(a.object.uri for a in first.artifacts if a.name == "best.ckpt")
    best = tiny_dataset[0] / uri.removeprefix("s3://")
    exported = make_pipeline("twice", again, spec=WARM, manifest=smaller).run_export_only(best)
    assert exported["metrics"] == result["metrics"]


def test_a_frozen_backbone_keeps_its_weights_and_its_mode_and_only_its_stem_trains(
    make_pipeline: Callable[..., TrainingPipeline],
    tiny_dataset: tuple[Path, Manifest],
    source: StoredObject,
    reporter: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes: set[tuple[bool, bool]] = set()
    begin = LocalizationLightningModule.on_train_batch_start

    def watch(self: Any, *arguments: Any) -> None:
        modes.add((self.net.backbone.training, self.net.levels.training))
        begin(self, *arguments)

    monkeypatch.setattr(LocalizationLightningModule, "on_train_batch_start", watch)
    spec = replace(WARM, model=replace(WARM.model, freeze_backbone=True))
    make_pipeline("frozen", reporter, spec=spec, init_weights=source).run()
    assert modes == {(False, True)}
    before = read_weights(tiny_dataset[0] / source.uri.removeprefix("s3://")).weights
    after = weights_of(reporter, tiny_dataset)
    moved = {n for n in before if n.startswith("backbone.") and not torch.equal(before[n], after[n])}
    assert moved == {f"backbone.{STEM}.weight", f"backbone.{STEM}.bias"}
    assert not torch.equal(before["position_head.weight"], after["position_head.weight"])
