"""World B: what shadows a transmitter is fixed by its place, as hills and towns are, and can be learnt.

Each receiver has a shadow map of 6 dB with an exponential correlation of 5 km; the maps of Aquila di Giaveno
and Coazze, 2 km apart, correlate with 0.9. About it each recording varies by 3 dB and by flat Rician
fading of K = 8 dB. Transmitter and receivers stand still: the steady wave does not turn, the scattered ones
move with traffic and trees, by at most 1 Hz. All else is as in world A.
"""

from typing import Final

from heimdall_core.simulation.fading import RicianFading
from heimdall_core.simulation.shadow_map import ShadowMap
from heimdall_core.simulation.sites import SITES
from heimdall_core.simulation.world import World, WorldDraw, draw_sessions


def _place(name: str) -> int:
    return next(i for i, site in enumerate(SITES) if site.receiver.name == name)


WORLD_B: Final = World(
    name="world-b",
    shadowing_sigma_db=3.0,
    shadow_map=ShadowMap(
        sigma_db=6.0,
        correlation_km=5.0,
        twins=(_place("Aquila di Giaveno"), _place("Coazze")),
        twin_correlation=0.9,
        seed=0,
    ),
    fading=RicianFading(k_db=8.0, doppler_hz=1.0),
)


def draw_world_b(num_sessions: int, seed: int) -> WorldDraw:
    """The first ``num_sessions`` sessions of the seed in world B; its maps are the same for all seeds."""
    return draw_sessions(WORLD_B, num_sessions, seed)
