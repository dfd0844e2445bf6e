import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.networks.projection import PlaneToDegrees
from heimdall_core.recordings.geodesy import distance_m, to_degrees

ORIGINS = [
    (44.95, 8.10),
    (40.766, -111.84),
    (0.0, 0.0),
    (-33.9, 151.2),
    (69.6, 18.9),
    (1.0, 179.9),
    (-17.0, -179.5),
]


def points_within(radius_km: float, count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    radius = radius_km * np.sqrt(rng.random(count))
    radius[: count // 4] = radius_km
    bearing = 2 * np.pi * rng.random(count)
    return np.stack([radius * np.sin(bearing), radius * np.cos(bearing)], axis=1)


@pytest.mark.parametrize("origin", ORIGINS)
def test_degrees_agree_with_pyproj_within_a_metre_inside_300_km(origin):
    plane_km = points_within(300.0)
    actual = PlaneToDegrees(origin)(torch.tensor(plane_km, dtype=torch.float32)).double().numpy()
    latitude, longitude = to_degrees(plane_km[:, 0], plane_km[:, 1], origin=origin)
    assert distance_m(actual[:, 0], actual[:, 1], latitude, longitude).max() < 1.0


@settings(max_examples=20, deadline=None)
@given(latitude=st.floats(-70.0, 70.0), longitude=st.floats(-180.0, 180.0))
def test_any_origin_up_to_70_degrees_is_right_within_a_metre(latitude, longitude):
    origin = (latitude, longitude)
    plane_km = points_within(300.0, count=200)
    actual = PlaneToDegrees(origin)(torch.tensor(plane_km, dtype=torch.float32)).double().numpy()
    expected = to_degrees(plane_km[:, 0], plane_km[:, 1], origin=origin)
    assert distance_m(actual[:, 0], actual[:, 1], *expected).max() < 1.0
    assert np.abs(actual[:, 1]).max() <= 180.0


def test_half_precision_inputs_are_projected_in_single_precision():
    plane = torch.tensor([[64.0, -32.0]])
    projection = PlaneToDegrees((44.95, 8.10))
    assert torch.equal(projection(plane.bfloat16()), projection(plane))
