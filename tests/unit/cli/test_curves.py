"""Curves in a terminal: what falls is seen to fall, and nothing of a training's oddities breaks the picture."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.cli.curves import HEIGHT, plot, plot_lines, read_curves, summary_lines


def points(*values, first=1):
    return [{"epoch": n, "step": 10 * n, "value": v, "attempt": 1} for n, v in enumerate(values, first)]


def dots(lines):
    """Rows of dots of each column of a plot, 0 at the top."""
    bits = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
    return [
        [4 * y + z for y, line in enumerate(lines) for z in range(4) if ord(line[x // 2]) & bits[x % 2][z]]
        for x in range(2 * len(lines[0]))
    ]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(2, 60))
def test_a_plot_has_its_size_and_a_dot_in_every_column(values, width):
    lines = plot(values, width=width)
    assert [len(line) for line in lines] == [width] * HEIGHT
    assert all(dots(lines))


def test_what_falls_begins_at_the_top_and_ends_at_the_bottom():
    columns = dots(plot([5.0, 4.0, 2.0, 1.0], width=10))
    assert (columns[0], columns[-1]) == ([0], [4 * HEIGHT - 1])
    assert all(max(later) >= max(former) for former, later in pairwise(columns))


def test_a_jump_leaves_no_gap():
    columns = dots(plot([0.0, 100.0, 0.0], width=2))
    assert len({row for column in columns for row in column}) == 4 * HEIGHT


def test_the_validation_loss_goes_before_the_training_loss():
    (curve,) = read_curves({"train_loss": points(9.0), "val_loss": points(3.0, 2.5, 2.75)})
    assert list(summary_lines([curve])) == ["loss         2.750, least 2.500 at epoch 2"]
    (curve,) = read_curves({"train_loss": points(9.0), "val_loss": []})
    assert curve.values == [9.0]


def test_values_that_are_no_numbers_are_left_out_and_a_second_attempt_goes_before_the_first():
    found = read_curves({"val_loss": [*points(3.0, None, 2.0), *points(2.9, 2.1, first=1)]})
    assert (list(found[0].epochs), list(found[0].values)) == ([1, 2, 3], [2.9, 2.1, 2.0])


@pytest.mark.parametrize("metrics", [{}, {"learning_rate": points(0.1)}, {"val_loss": points(None)}])
def test_without_a_curve_nothing_is_drawn(metrics):
    assert read_curves(metrics) == []


def test_one_epoch_is_no_curve_yet():
    curves = read_curves({"val_median_error_m": points(8123.0)})
    assert list(plot_lines(curves)) == []
    assert list(summary_lines(curves)) == ["median error 8,123 m, least 8,123 m at epoch 1"]
