"""Regions of the earth: their bounding box, and what lies within a circle. Pure: no database."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heimdall_core.datasets.definition import Box, Circle, Region
from heimdall_core.recordings.geodesy import distance_m

_SMALLEST_RADIUS_KM = 6335.4
"""Radius of curvature of WGS-84's meridian at the equator: no arc of a given length spans a greater angle."""

_MARGIN = 1.01
_POLE = 90.0
_HALF_TURN = 180.0


def bounds_of(region: Region) -> Box:
    """A box that holds the whole region; of a box itself."""
    if region.box is not None:
        return region.box
    assert region.circle is not None
    return _bounds_of_circle(region.circle)


def _bounds_of_circle(circle: Circle) -> Box:
    angle = min(_MARGIN * circle.radius_km / _SMALLEST_RADIUS_KM, math.pi)
    reach = math.degrees(angle)
    south, north = circle.latitude - reach, circle.latitude + reach
    if south <= -_POLE or north >= _POLE:
        west, east = -_HALF_TURN, _HALF_TURN
    else:
        width = math.degrees(math.asin(min(math.sin(angle) / math.cos(math.radians(circle.latitude)), 1.0)))
        west, east = _wrapped(circle.longitude - width), _wrapped(circle.longitude + width)
    return Box(
        min_latitude=max(south, -_POLE),
        max_latitude=min(north, _POLE),
        min_longitude=west,
        max_longitude=east,
    )


def inside_circle(circle: Circle, latitudes: ArrayLike, longitudes: ArrayLike) -> NDArray[np.bool_]:
    """(N,): which of N points, degrees, lie within the circle by geodesic distance."""
    latitude_N, longitude_N = np.asarray(latitudes, float), np.asarray(longitudes, float)
    distance_N = distance_m(
        latitude_N,
        longitude_N,
        np.full_like(latitude_N, circle.latitude),
        np.full_like(longitude_N, circle.longitude),
    )
    return np.asarray(distance_N <= circle.radius_km * 1e3)


def smallest_box(latitudes: ArrayLike, longitudes: ArrayLike) -> Box:
    """The smallest box that holds all points, degrees; it crosses the antimeridian where that is narrower."""
    latitude_N = np.asarray(latitudes, float)
    west, east = _narrowest_span(np.unique(np.asarray(longitudes, float)))
    return Box(
        min_latitude=float(latitude_N.min()),
        max_latitude=float(latitude_N.max()),
        min_longitude=west,
        max_longitude=east,
    )


def _narrowest_span(longitudes: NDArray[np.float64]) -> tuple[float, float]:
    """West and east end of what the widest gap between sorted longitudes leaves."""
    gaps = np.diff(longitudes, append=longitudes[0] + 2 * _HALF_TURN)
    widest = len(gaps) - 1 - int(np.argmax(gaps[::-1]))  # the last of equals: no needless crossing
    return float(longitudes[(widest + 1) % len(longitudes)]), float(longitudes[widest])


def _wrapped(longitude: float) -> float:
    return (longitude + _HALF_TURN) % (2 * _HALF_TURN) - _HALF_TURN
