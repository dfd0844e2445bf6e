"""The ``heimdall`` command: its tree, and the one place where errors become lines and exit codes."""

import sys

import typer

from heimdall_core.cli import (
    datasets_commands,
    demo_commands,
    jobs_commands,
    models_commands,
    predict_commands,
    recordings_commands,
    simulating,
    stack_commands,
)
from heimdall_core.cli.output import show_error
from heimdall_core.domain.errors import HeimdallError

app = typer.Typer(
    name="heimdall",
    help="Training as a service for Heimdall: recordings in, a registered ONNX model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(stack_commands.up)
app.command()(stack_commands.down)
app.command()(stack_commands.status)
app.command()(demo_commands.demo)
app.add_typer(recordings_commands.app, name="recordings")
app.add_typer(datasets_commands.app, name="datasets")
app.add_typer(jobs_commands.app, name="jobs")
app.add_typer(models_commands.app, name="models")
app.command()(predict_commands.predict)
app.command()(simulating.simulate)
app.command()(stack_commands.migrate)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except HeimdallError as error:
        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
