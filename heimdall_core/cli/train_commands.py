"""``heimdall train``: training without the service."""

from typing import Final

import typer

#: Typer leaves every flag to the program's own parser, ``--help`` included.
PASS_THROUGH: Final[dict[str, object]] = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


def train(context: typer.Context) -> None:
    """Trains without the service: a folder of recordings in, a verified ONNX model out."""
    from heimdall_core.train import main

    raise typer.Exit(main(context.args, program="heimdall train"))
