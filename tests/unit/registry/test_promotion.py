"""A version becomes the champion only by being better on the same data."""

import math

import pytest

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.registry.publishing import is_better


def version(error_m, digest="same"):
    return ModelVersion(dataset_digest=digest, metrics={"median_error_m": error_m})


@pytest.mark.parametrize(
    ("challenger", "champion", "better"),
    [
        (version(900.0), None, True),
        (version(900.0), version(1000.0), True),
        (version(1000.0), version(1000.0), False),
        (version(1100.0), version(1000.0), False),
        (version(900.0, "other"), version(1000.0), False),
        (version(None), version(1000.0), False),
        (version(900.0), version(None), True),
        (version(math.inf), version(None), False),
    ],
)
def test_only_a_lower_error_on_the_same_dataset_wins(challenger, champion, better):
    assert is_better(challenger, champion) is better
