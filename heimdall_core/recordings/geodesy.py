"""The local east-north plane of a dataset: azimuthal equidistant about its origin (WGS-84)."""

from functools import cache

import numpy as np
import pyproj
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
_GEOD = pyproj.Geod(ellps="WGS84")


@cache
def _projection(latitude: float, longitude: float) -> pyproj.Proj:
    return pyproj.Proj(proj="aeqd", lat_0=latitude, lon_0=longitude, ellps="WGS84")


def to_plane_km(
    latitudes: ArrayLike, longitudes: ArrayLike, *, origin: tuple[float, float]
) -> tuple[Float, Float]:
    """East and north of ``origin`` (latitude, longitude), km; arrays keep their shape."""
    east, north = _projection(*origin)(np.asarray(longitudes, float), np.asarray(latitudes, float))
    return np.asarray(east) / 1e3, np.asarray(north) / 1e3


def to_degrees(
    east_km: ArrayLike, north_km: ArrayLike, *, origin: tuple[float, float]
) -> tuple[Float, Float]:
    """Latitude and longitude, degrees, of points of the plane; the inverse of ``to_plane_km``."""
    longitude, latitude = _projection(*origin)(
        np.asarray(east_km, float) * 1e3, np.asarray(north_km, float) * 1e3, inverse=True
    )
    return np.asarray(latitude), np.asarray(longitude)


def distance_m(lat_a: ArrayLike, lon_a: ArrayLike, lat_b: ArrayLike, lon_b: ArrayLike) -> Float:
    """Geodesic distance between points in degrees, metres; arrays keep their shape."""
    args = [np.asarray(a, float) for a in (lon_a, lat_a, lon_b, lat_b)]
    return np.asarray(_GEOD.inv(*args)[2])
