"""A circle's box never cuts the circle, wherever it lies."""

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.datasets.definition import Box, Circle, Region
from heimdall_core.datasets.region import bounds_of, inside_circle, smallest_box

GEOD = pyproj.Geod(ellps="WGS84")


def is_inside(box, latitude, longitude):
    if box.min_longitude > box.max_longitude:
        in_longitude = longitude >= box.min_longitude or longitude <= box.max_longitude
    else:
        in_longitude = box.min_longitude <= longitude <= box.max_longitude
    return in_longitude and box.min_latitude <= latitude <= box.max_latitude


@given(
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.floats(0.01, 20_000),
    st.floats(0, 360),
    st.floats(0, 1),
)
def test_every_point_of_a_circle_lies_in_its_box(latitude, longitude, radius_km, azimuth, part):
    circle = Circle(latitude=latitude, longitude=longitude, radius_km=radius_km)
    lon, lat, _ = GEOD.fwd(longitude, latitude, azimuth, part * radius_km * 1e3)
    box = bounds_of(Region(circle=circle))
    if abs(abs(lon) - 180) > 1e-9:
        assert is_inside(box, lat, lon)


@given(st.floats(-80, 80), st.floats(-180, 180), st.floats(1, 500), st.floats(0, 360))
def test_a_circle_ends_at_its_radius(latitude, longitude, radius_km, azimuth):
    circle = Circle(latitude=latitude, longitude=longitude, radius_km=radius_km)
    lon, lat, _ = GEOD.fwd(
        [longitude] * 2, [latitude] * 2, [azimuth] * 2, [radius_km * 999, radius_km * 1001]
    )
    assert inside_circle(circle, lat, lon).tolist() == [True, False]


def test_a_box_is_its_own_bounds():
    box = Box(min_latitude=1, max_latitude=2, min_longitude=170, max_longitude=-170)
    assert bounds_of(Region(box=box)) is box


@pytest.mark.parametrize(
    ("longitudes", "west", "east"),
    [
        ([7.0], 7.0, 7.0),
        ([6.0, 9.0, 7.0], 6.0, 9.0),
        ([179.0, -178.0, 180.0], 179.0, -178.0),
        ([-90.0, 90.0], -90.0, 90.0),
    ],
)
def test_the_smallest_box_crosses_the_antimeridian_only_where_that_is_narrower(longitudes, west, east):
    box = smallest_box(np.zeros(len(longitudes)), longitudes)
    assert (box.min_longitude, box.max_longitude) == (west, east)
