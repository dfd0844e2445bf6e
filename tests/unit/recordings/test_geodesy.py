import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.recordings.geodesy import distance_m, to_degrees, to_plane_km

ORIGIN = (44.95, 8.10)


@given(st.floats(-300, 300), st.floats(-300, 300))
def test_the_plane_and_degrees_are_inverse(east, north):
    latitude, longitude = to_degrees(east, north, origin=ORIGIN)
    assert np.allclose(to_plane_km(latitude, longitude, origin=ORIGIN), (east, north), atol=1e-6)


@given(st.floats(-200, 200), st.floats(-200, 200))
def test_distances_from_the_origin_are_true(east, north):
    latitude, longitude = to_degrees(east, north, origin=ORIGIN)
    assert distance_m(*ORIGIN, latitude, longitude) == pytest.approx(1e3 * np.hypot(east, north), abs=0.01)


def test_arrays_keep_their_shape():
    east, north = to_plane_km(np.full((2, 3), 45.0), np.full((2, 3), 8.0), origin=ORIGIN)
    assert east.shape == north.shape == (2, 3)
