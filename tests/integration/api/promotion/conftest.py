"""A registry without trainers."""

import pytest

from tests.integration.api.promotion.registry import Registry


@pytest.fixture
def registry(client):
    registry = Registry(client)
    registry.add_datasets(2)
    return registry
