"""World A: independent log-normal shadowing, so that the best possible estimate can be computed."""

from collections.abc import Iterator
from typing import Final

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.world import World, WorldDraw, draw_sessions, render, simulate

__all__ = ["WORLD_A", "WorldADraw", "draw_world_a", "render", "simulate_sessions"]

WORLD_A: Final = World(name="world-a", shadowing_sigma_db=8.0)

WorldADraw = WorldDraw


def draw_world_a(num_sessions: int, seed: int) -> WorldDraw:
    """The first ``num_sessions`` sessions of the seed in world A."""
    return draw_sessions(WORLD_A, num_sessions, seed)


def simulate_sessions(
    num_sessions: int, seed: int, *, settings: FeatureSettings | None = None, num_segments: int = 1
) -> Iterator[RecordedSession]:
    """Sessions of world A as IQ, one after another; equal arguments give equal bytes."""
    return simulate(WORLD_A, num_sessions, seed, settings=settings, num_segments=num_segments)
