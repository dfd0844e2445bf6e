"""Synthetic recordings as files: ``heimdall simulate``, and the demonstration's input."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from heimdall_core.cli.output import console, say, show_json, size

WorldName = Literal["a", "b"]


def write_sessions(
    folder: Path,
    *,
    num_sessions: int,
    seed: int,
    world: WorldName = "a",
    on_session: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Writes a world's sessions as SigMF archives, one file each; those that exist are kept."""
    from heimdall_core.recordings.archive import pack_session
    from heimdall_core.simulation.world import draw_sessions, render, session_name
    from heimdall_core.simulation.world_a import WORLD_A
    from heimdall_core.simulation.world_b import WORLD_B

    folder.mkdir(parents=True, exist_ok=True)
    draw = draw_sessions(WORLD_A if world == "a" else WORLD_B, num_sessions, seed)
    paths: list[Path] = []
    for index in islice(range(len(draw)), num_sessions):
        path = folder / f"{session_name(draw, index, seed)}.sigmf"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(pack_session(render(draw, index, seed=seed)).data)
            unfinished.replace(path)
        paths.append(path)
        on_session()
    return paths


def write_with_progress(
    folder: Path, *, num_sessions: int, seed: int, world: WorldName = "a", quiet: bool = False
) -> list[Path]:
    """The same, with a progress bar unless ``quiet``."""
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("simulating", total=num_sessions)
        return write_sessions(
            folder,
            num_sessions=num_sessions,
            seed=seed,
            world=world,
            on_session=lambda: progress.advance(task),
        )


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write the .sigmf archives.")],
    sessions: Annotated[int, typer.Option(min=1)] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    world: Annotated[
        WorldName, typer.Option(help="a: independent shadowing; b: shadowing fixed by place, and fading.")
    ] = "a",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Writes synthetic recording sessions of the seven Heimdall receivers."""
    paths = write_with_progress(folder, num_sessions=sessions, seed=seed, world=world, quiet=as_json)
    num_bytes = sum(path.stat().st_size for path in paths)
    if as_json:
        show_json({"folder": str(folder), "bytes": num_bytes, "files": [path.name for path in paths]})
    else:
        say(f"{len(paths)} sessions, {size(num_bytes)}, in {folder}")
