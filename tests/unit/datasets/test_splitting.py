"""Splits are whole, complete, repeatable and as near to the fractions as whole units allow."""

from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heimdall_core.datasets.definition import SplitSpec
from heimdall_core.datasets.splitting import block_label, draw_units, split_units
from heimdall_core.domain.errors import InvalidRequest

unit_sizes = st.lists(st.integers(1, 30), min_size=3, max_size=12)


def labels(sizes):
    return [f"u{i}" for i, size in enumerate(sizes) for _ in range(size)]


def test_two_units_cannot_fill_three_splits():
    with pytest.raises(InvalidRequest, match="would be empty") as caught:
        split_units(["a", "a", "b"], SplitSpec())
    assert caught.value.problems[0].pointer == "/split"
    assert "smaller block_km" in caught.value.problems[0].detail


def test_an_unknown_group_is_named_with_what_exists():
    with pytest.raises(InvalidRequest, match="nowhere") as caught:
        split_units(["a", "b", "c"], SplitSpec(strategy="group", test_groups=("nowhere",)))
    assert caught.value.problems[0].pointer == "/split/test_groups"
    assert "a, b, c" in caught.value.problems[0].detail


def test_a_group_cannot_be_in_two_splits():
    with pytest.raises(InvalidRequest, match="two splits"):
        split_units(["a", "b", "c"], SplitSpec(test_groups=("a",), val_groups=("a", "b")))


def test_fractions_must_leave_something_to_train_on():
    with pytest.raises(InvalidRequest, match="nothing to train on"):
        split_units(["a", "b", "c"], SplitSpec(test_fraction=0.5, val_fraction=0.5))


def test_naming_every_unit_leaves_no_training():
    with pytest.raises(InvalidRequest, match="train split would be empty"):
        split_units(["a", "b"], SplitSpec(strategy="group", test_groups=("a",), val_groups=("b",)))


def test_named_groups_are_the_splits():
    spec = SplitSpec(strategy="group", test_groups=("b",), val_groups=("d",))
    splits = split_units(["a", "b", "c", "d"], spec)
    assert splits == {"a": "train", "b": "test", "c": "train", "d": "val"}


def test_named_val_units_are_never_drawn_for_test():
    for seed in range(20):
        splits = split_units(["a", "b", "c", "d"], SplitSpec(val_groups=("b",), seed=seed))
        assert splits["b"] == "val"


@given(unit_sizes, st.integers(0, 5))
def test_every_split_is_filled_and_the_request_repeats(sizes, seed):
    units = labels(sizes)
    spec = SplitSpec(seed=seed)
    splits = split_units(units, spec)
    assert set(splits) == set(units)
    assert set(splits.values()) == {"train", "val", "test"}
    assert split_units(list(reversed(units)), spec) == splits


@given(unit_sizes, st.floats(0.05, 0.6))
def test_no_subset_comes_nearer_to_the_target(sizes, fraction):
    target = fraction * sum(sizes)
    units = [(f"u{i}", size) for i, size in enumerate(sizes)]
    chosen = draw_units(units, target=target, leave=0)
    assume(chosen)
    drawn = sum(size for unit, size in units if unit in chosen)
    sums = {sum(c) for n in range(1, len(sizes) + 1) for c in combinations(sizes, n)}
    assert abs(drawn - target) == min(abs(total - target) for total in sums)


@given(unit_sizes, st.integers(0, 3), st.floats(0, 100))
def test_units_to_leave_are_left(sizes, leave, target):
    units = [(f"u{i}", size) for i, size in enumerate(sizes)]
    assert len(sizes) - len(draw_units(units, target=target, leave=leave)) >= leave


def test_the_seed_changes_the_draw():
    units = [f"u{i}" for i in range(40)]
    draws = {
        frozenset(u for u, s in split_units(units, SplitSpec(seed=seed)).items() if s == "test")
        for seed in range(5)
    }
    assert len(draws) == 5


@given(*[st.integers(-500_000, 500_000).map(lambda metres: metres / 1000)] * 2)
def test_a_block_is_a_half_open_square(east, north):
    label = block_label(east, north, block_km=20)
    e, n = (int(x) for x in label[1:].split("n"))
    assert 20 * e <= east < 20 * (e + 1)
    assert 20 * n <= north < 20 * (n + 1)
