"""The seven Heimdall receivers and the box in which their transmitters lie."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.recordings.session import ReceiverSite
from heimdall_core.simulation.propagation import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A receiver and what surrounds it."""

    receiver: ReceiverSite
    environment: Environment
    oscillator_ppm: float
    """Fixed error of its frequency; about 1 ppm, as of a TCXO."""


def _site(
    name: str, latitude: float, longitude: float, altitude_m: float, environment: Environment, ppm: float
) -> Site:
    receiver = ReceiverSite(name=name, latitude=latitude, longitude=longitude, altitude_m=altitude_m)
    return Site(receiver=receiver, environment=environment, oscillator_ppm=ppm)


SITES: Final = (
    _site("Aquila di Giaveno", 45.02, 7.29, 600, "rural", 0.8),
    _site("Montanaro", 45.234, 7.857, 300, "residential", -1.1),
    _site("Torino", 45.044, 7.672, 250, "city", 0.4),
    _site("Coazze", 45.03, 7.27, 700, "rural", -0.6),
    _site("Passo del Giovi", 44.561, 8.956, 480, "rural", 1.2),
    _site("Genova", 44.395, 8.956, 100, "city", -0.9),
    _site("Milano - Baggio", 45.478, 9.123, 120, "residential", 0.3),
)

ORIGIN: Final = (44.95, 8.10)
"""Latitude and longitude of the plane's origin."""
EAST_KM: Final = (-75.0, 100.0)
NORTH_KM: Final = (-65.0, 65.0)

EAST_R, NORTH_R = to_plane_km(
    [s.receiver.latitude for s in SITES], [s.receiver.longitude for s in SITES], origin=ORIGIN
)
"""Receivers in the plane, km, (R,) each."""
ALTITUDE_R = np.array([s.receiver.altitude_m for s in SITES])
OSCILLATOR_PPM_R = np.array([s.oscillator_ppm for s in SITES])
