"""``heimdall demo``: recordings in, a registered model out, in five steps."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from heimdall_core.cli.client import ApiClient, connect, connect_local
from heimdall_core.cli.demo_plan import POWDER_7, DemoPlan, power_table_plan, synthetic_plan
from heimdall_core.cli.demo_run import DemoRun
from heimdall_core.cli.demo_summary import show_summary
from heimdall_core.cli.output import duration, say
from heimdall_core.cli.predict_commands import predict_held_out
from heimdall_core.cli.stack_commands import HomeOption, home_of, start_detached, stop_command
from heimdall_core.embedded.home import Home

NUM_SESSIONS = 600
EPOCHS = 12
POWER_TABLE_EPOCHS = 8


def demo(
    home: HomeOption = None,
    sessions: Annotated[int, typer.Option(min=50, help="Synthetic recording sessions.")] = NUM_SESSIONS,
    epochs: Annotated[
        int | None, typer.Option(min=1, show_default=f"{EPOCHS}, or {POWER_TABLE_EPOCHS} for a power table")
    ] = None,
    power_table: Annotated[
        Path | None, typer.Option(help="Folder with receivers.csv and transmissions.csv to use instead.")
    ] = None,
    receivers: Annotated[
        list[str] | None, typer.Option(help="Receivers of the power table; repeat.", show_default="POWDER-7")
    ] = None,
    test_fold: Annotated[int, typer.Option(help="Fold of the power table that is held out.")] = 0,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train again what is trained already.")] = False,
) -> None:
    """Runs the whole way once: recordings in, a registered ONNX model out, over HTTP."""
    began = time.monotonic()
    place = home_of(home)
    folder = place.folder("demo")
    plan = (
        power_table_plan(
            power_table,
            receivers=receivers or POWDER_7,
            test_fold=test_fold,
            epochs=epochs or POWER_TABLE_EPOCHS,
        )
        if power_table
        else synthetic_plan(folder, num_sessions=sessions, epochs=epochs or EPOCHS)
    )
    _step(1, f"environment: Python {platform.python_version()}, torch {_installed('torch')}")
    _step(2, "engines, API and workers")
    with _service(place) as client:
        _run(client, plan, folder, retrain=retrain)
    took = duration(time.monotonic() - began)
    say(f"\nDone in {took}. Heimdall still runs; `{stop_command(place)}` stops it.")
    if place.root != Path.home() / ".heimdall":
        say(f"Other commands find it with: export HEIMDALL_HOME={place.root}")


def _run(client: ApiClient, plan: DemoPlan, folder: Path, *, retrain: bool) -> None:
    run = DemoRun(client, plan, folder / f"{plan.digest}.json")
    _step(3, f"recordings: {plan.title}")
    dataset = run.dataset()
    _step(4, "training, evaluation, ONNX export, registration")
    job = run.train(dataset["version"], retrain=retrain)
    _step(5, "summary")
    show_summary(job, dataset, url=client.url, key_place=_key_place(folder))
    predict_held_out(client, job, dataset, cache=folder.parent / "cache")


def _key_place(folder: Path) -> str:
    return "HEIMDALL_API_KEY" if os.environ.get("HEIMDALL_URL") else str(Home(folder.parent).api_key_file)


def _step(number: int, title: str) -> None:
    say(f"\n[bold cyan]{number}/5[/] [bold]{title}[/]")


def _service(place: Home) -> ApiClient:
    """The API that the environment names, else the local one, started if need be."""
    if os.environ.get("HEIMDALL_URL"):
        client = connect()
        say(f"  using {client.url}")
        return client
    state = place.read_state()
    if state.is_running and state.phase == "ready":
        say(f"  already running at {state.url}")
    else:
        start_detached(place, {})
    return connect_local(place)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
