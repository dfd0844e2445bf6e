"""The table of costs is that of the networks."""

from itertools import pairwise

import pytest

from heimdall_core.domain.spec import BACKBONES
from heimdall_core.jobs.training_costs import COSTS, relative_time, step_bytes


def test_each_network_costs_more_than_the_one_before_it():
    assert tuple(COSTS) == BACKBONES
    for smaller, larger in pairwise(BACKBONES):
        assert step_bytes(smaller, 32, 7) < step_bytes(larger, 32, 7)
        assert relative_time(larger, smaller) > 1.0


def test_epochs_foretell_each_other_as_they_were_measured():
    """Seconds for an epoch of 60 sessions on two busy cores: micro 0.27, atto 2.1, tiny 9.5."""
    assert 0.27 * relative_time("atto", "micro") == pytest.approx(2.1, rel=0.2)
    assert 2.1 * relative_time("tiny", "atto") == pytest.approx(9.5, rel=0.15)
    assert 9.5 * relative_time("atto", "tiny") == pytest.approx(2.1, rel=0.15)


@pytest.mark.slow
def test_the_table_is_that_of_the_networks():
    from benchmarks.training_costs import measure

    for backbone in ("micro", "atto"):
        measured = measure(backbone)
        assert measured.parameters == COSTS[backbone].parameters
        assert measured.flops == COSTS[backbone].flops
        assert measured.activation_bytes == pytest.approx(COSTS[backbone].activation_bytes, rel=0.05)
