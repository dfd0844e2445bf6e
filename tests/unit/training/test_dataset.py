"""Items are functions of (seed, epoch, index); batches are functions of (seed, epoch)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.features import rows
from heimdall_core.training.augmentation import Augmentation, augment, draw
from heimdall_core.training.datamodule import TrainingLoader, evaluation_loader
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.sampling import EpochSampler, EvaluationSampler

NO_AUGMENTATION = Augmentation(
    receiver_dropout=0.0, gain_db=0.0, level_db=0.0, cell_db=0.0, permute_receivers=False
)


def _planes(num_items: int = 4, num_receivers: int = 3) -> np.ndarray:
    inputs = np.full((num_items, num_receivers, rows.NUM_ROWS, 32), 0.5, np.float32)
    inputs[:, :, rows.PRESENCE_ROW] = 1.0
    inputs[:, -1] = 0.0
    return inputs


def _augmented(augmentation: Augmentation, num_items: int = 64) -> np.ndarray:
    inputs = _planes(num_items)
    augment(inputs, draw(0, [(0, i) for i in range(num_items)], 3), augmentation)
    return inputs


def test_an_item_does_not_depend_on_its_batch(make_features: Any) -> None:
    dataset = HeimdallDataset(make_features(), "train", training=True, seed=3)
    batch = dataset.__getitems__([(1, 5), (1, 2), (1, 7)])
    alone = dataset[(1, 2)]
    assert torch.equal(batch.inputs[1], alone.inputs[0])
    assert torch.equal(batch.target_km[1], alone.target_km[0])


@pytest.mark.parametrize("other", [{"key": (2, 2)}, {"seed": 4}])
def test_another_epoch_or_seed_disturbs_an_item_otherwise(make_features: Any, other: dict[str, Any]) -> None:
    features = make_features()
    item = HeimdallDataset(features, "train", training=True, seed=3)[(1, 2)]
    changed = HeimdallDataset(features, "train", training=True, seed=other.get("seed", 3))[
        other.get("key", (1, 2))
    ]
    assert not torch.equal(item.inputs, changed.inputs)


def test_training_without_augmentation_gives_a_segment_as_it_is(make_features: Any) -> None:
    features = make_features()
    dataset = HeimdallDataset(features, "train", training=True, augment=False)
    seen = {dataset[(epoch, 0)].inputs.numpy().tobytes() for epoch in range(30)}
    session = features.indices("train")[0]
    segments = features.inputs[features.first_segment[session] : features.first_segment[session + 1]]
    assert seen == {segment.tobytes() for segment in segments}


def test_augmentation_leaves_the_features_in_the_cache_alone(make_features: Any) -> None:
    features = make_features()
    before = features.inputs.copy()
    HeimdallDataset(features, "train", training=True).__getitems__([(0, i) for i in range(12)])
    np.testing.assert_array_equal(features.inputs, before)


def test_evaluation_gives_every_segment_of_every_session(make_features: Any) -> None:
    features = make_features()
    dataset = HeimdallDataset(features, "test", training=False)
    batches = list(evaluation_loader(dataset))
    assert sum(len(b.inputs) for b in batches) == dataset.num_segments.sum()
    counts = np.concatenate([np.bincount(b.item, minlength=len(b.indices)) for b in batches])
    np.testing.assert_array_equal(counts, dataset.num_segments)


def test_a_gain_moves_power_and_floor_together_and_leaves_the_snr() -> None:
    inputs = _augmented(replace(NO_AUGMENTATION, gain_db=6.0))
    moved = inputs - _planes(len(inputs))
    np.testing.assert_array_equal(moved[:, :, rows.POWER_ROW], moved[:, :, rows.FLOOR_ROW])
    assert moved[:, :2, rows.POWER_ROW].std() * rows.DBFS_SCALE == pytest.approx(6.0, rel=0.2)
    assert not moved[:, :, : rows.POWER_ROW].any()
    assert not moved[:, :, rows.PRESENCE_ROW :].any()


def test_a_level_moves_bands_snr_and_power_by_as_many_decibels() -> None:
    moved = _augmented(replace(NO_AUGMENTATION, level_db=1.0)) - _planes(64)
    snr_db = moved[:, :, rows.SNR_ROW] * rows.DB_SCALE
    np.testing.assert_allclose(moved[:, :, rows.POWER_ROW] * rows.DBFS_SCALE, snr_db, atol=1e-4)
    np.testing.assert_allclose(moved[:, :, 10] * rows.DB_SCALE, snr_db, atol=1e-4)
    assert not moved[:, :, rows.FLOOR_ROW].any()


def test_a_dropped_receiver_is_a_plane_of_zeros_and_one_is_always_left() -> None:
    inputs = _augmented(replace(NO_AUGMENTATION, receiver_dropout=0.9))
    present = inputs[:, :, rows.PRESENCE_ROW, 0] > 0
    assert present.any(axis=1).all()
    assert present[:, :2].mean() < 0.9
    assert not inputs[~present].any()


def test_an_absent_receiver_stays_a_plane_of_zeros() -> None:
    assert not _augmented(Augmentation(permute_receivers=False))[:, -1].any()


def test_no_strength_changes_nothing() -> None:
    np.testing.assert_array_equal(_augmented(NO_AUGMENTATION), _planes(64))


@given(
    num_items=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 99),
)
def test_an_epoch_visits_every_item_once(num_items: int, batch_size: int, seed: int, epoch: int) -> None:
    sampler = EpochSampler(num_items, batch_size, seed=seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(key for batch in batches for key in batch) == [(epoch, i) for i in range(num_items)]


@given(offset=st.integers(0, 7), epoch=st.integers(0, 9))
def test_an_offset_skips_batches_once_and_keeps_the_length(offset: int, epoch: int) -> None:
    whole, rest = EpochSampler(25, 4, seed=1), EpochSampler(25, 4, seed=1)
    whole.set_epoch(epoch)
    rest.set_epoch(epoch)
    rest.offset = offset
    assert list(rest) == list(whole)[offset:]
    assert len(rest) == len(whole)
    assert list(rest) == list(whole)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_evaluation_batches_are_bounded_and_in_order(num_segments: list[int]) -> None:
    batches = list(EvaluationSampler(np.array(num_segments), max_segments=8))
    assert [index for batch in batches for _, index in batch] == list(range(len(num_segments)))
    for batch in batches:
        assert len(batch) == 1 or sum(num_segments[i] for _, i in batch) <= 8


def test_a_loader_resumes_behind_the_batches_it_served(make_features: Any) -> None:
    dataset = HeimdallDataset(make_features(), "train", training=True, seed=3)
    first = TrainingLoader(dataset, EpochSampler(len(dataset), 3, seed=3))
    iterator = iter(first)
    served = [next(iterator), next(iterator)]
    second = TrainingLoader(dataset, EpochSampler(len(dataset), 3, seed=3))
    second.load_state_dict(first.state_dict())
    rest = list(second)
    expected = list(TrainingLoader(dataset, EpochSampler(len(dataset), 3, seed=3)))
    assert len(served) + len(rest) == len(expected)
    for left, right in zip([*served, *rest], expected, strict=True):
        assert torch.equal(left.inputs, right.inputs)


def test_worker_processes_serve_the_same_batches(make_features: Any) -> None:
    dataset = HeimdallDataset(make_features(), "train", training=True, seed=3)
    alone = TrainingLoader(dataset, EpochSampler(len(dataset), 4, seed=3))
    helped = TrainingLoader(dataset, EpochSampler(len(dataset), 4, seed=3), num_workers=1)
    for left, right in zip(alone, helped, strict=True):
        assert torch.equal(left.inputs, right.inputs)
