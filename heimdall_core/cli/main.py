"""The ``heimdall`` command: its tree, and the one place where errors become lines and exit codes."""

import sys
from collections.abc import Callable
from importlib.metadata import version as version_of
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from heimdall_core.cli import (
    datasets_commands,
    demo_commands,
    doctor,
    jobs_commands,
    keys_commands,
    models_commands,
    predict_commands,
    recording_picture,
    recordings_commands,
    replay_commands,
    schedules_commands,
    simulating,
    stack_commands,
    train_commands,
    webhooks_commands,
    workers_commands,
)
from heimdall_core.cli.errors import EXIT_CODES
from heimdall_core.cli.failing import report_failure
from heimdall_core.cli.output import say

PANELS: Final[dict[str, tuple[str, ...]]] = {
    "Service": ("up", "down", "status", "doctor", "workers", "keys", "webhooks", "migrate"),
    "Recordings and datasets": ("recordings", "datasets"),
    "Jobs and models": ("jobs", "models", "schedules", "predict"),
    "Tools": ("demo", "simulate", "train", "replay"),
}
"""The panels of the help, and the commands of each, in order."""


class InPanels(TyperGroup):
    """Lists the commands panel by panel."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        ordered = [name for names in PANELS.values() for name in names]
        return sorted(self.commands, key=ordered.index)


def _tell_version(wanted: bool) -> None:
    if wanted:
        say(f"heimdall {version_of('heimdall-training')}")
        raise typer.Exit


app = typer.Typer(
    name="heimdall",
    cls=InPanels,
    help="Training as a service for Heimdall: recordings in, a registered ONNX model out.",
    epilog="Exit codes: " + "; ".join(f"{int(code)} {text}" for code, text in EXIT_CODES.items()) + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    pass


def _panel(name: str) -> str:
    return next(panel for panel, names in PANELS.items() if name in names)


def _command(function: Callable[..., None]) -> None:
    app.command(rich_help_panel=_panel(function.__name__))(function)


def _group(name: str, group: typer.Typer) -> None:
    app.add_typer(group, name=name, rich_help_panel=_panel(name))


for _function in (
    stack_commands.up,
    stack_commands.down,
    stack_commands.status,
    doctor.doctor,
    stack_commands.migrate,
    predict_commands.predict,
    demo_commands.demo,
    simulating.simulate,
    replay_commands.replay,
):
    _command(_function)
app.command(rich_help_panel=_panel("train"), context_settings=train_commands.PASS_THROUGH)(
    train_commands.train
)
recordings_commands.app.command("show")(recording_picture.show)
_group("recordings", recordings_commands.app)
_group("datasets", datasets_commands.app)
_group("jobs", jobs_commands.app)
_group("models", models_commands.app)
_group("schedules", schedules_commands.app)
_group("workers", workers_commands.app)
_group("keys", keys_commands.app)
_group("webhooks", webhooks_commands.app)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place where one can be told
        sys.exit(report_failure(error))


if __name__ == "__main__":
    main()
