"""``heimdall datasets preview|create|list|show``."""

from typing import Annotated

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.dataset_options import takes_definition
from heimdall_core.cli.dataset_report import SPLITS, describe, show_preview, show_version
from heimdall_core.cli.output import moment, say, show_json, show_rows
from heimdall_core.domain.errors import InvalidRequest

__all__ = ["app", "describe"]

app = typer.Typer(help="Datasets: preview, freeze, list, show.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_PATIENCE_SECONDS = 300.0
"""A definition of a hundred thousand sessions takes the service a while."""


def preview(body: Json, as_json: bool) -> None:
    """Counts what a definition would freeze, and tells what would make that fail; changes nothing."""
    with connect(timeout_seconds=_PATIENCE_SECONDS) as client:
        found = client.post("/v1/datasets:preview", body)
    show_json(found) if as_json else show_preview(str(body["name"]), found)


def create(body: Json, as_json: bool) -> None:
    """Freezes the approved sessions as a new version of a dataset."""
    with connect(timeout_seconds=_PATIENCE_SECONDS) as client:
        version = client.post("/v1/datasets", body)
    if as_json:
        show_json(version)
        return
    say(describe(version))
    if not version["created"]:
        say("[dim]that version held exactly this already; none was made[/]")


app.command("preview", no_args_is_help=True)(takes_definition(preview))
app.command("create", no_args_is_help=True)(takes_definition(create, without=("status",)))


@app.command("list")
def list_(limit: Annotated[int, typer.Option(min=1)] = 50, as_json: JsonOption = False) -> None:
    """Lists datasets, each with its newest version."""
    with connect() as client:
        versions = list(client.pages("/v1/datasets", limit=limit))
    if as_json:
        show_json(versions)
        return
    show_rows(
        ("name", "version", "train", "val", "test", "receivers", "created"),
        (
            (
                v["name"],
                v["version"],
                *(v["counts"][split] for split in SPLITS),
                len(v["receivers"]),
                moment(v["created_at"]),
            )
            for v in versions
        ),
        empty="no dataset; `heimdall datasets create` freezes one",
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME/VERSION.")],
    version: Annotated[int | None, typer.Argument(help="Default: the newest.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Shows a dataset version: what it holds, by which receivers, and what was asked for."""
    with connect() as client:
        found = _find(client, name, version)
    show_json(found) if as_json else show_version(found)


def _find(client: ApiClient, name: str, version: int | None) -> Json:
    name, slash, number = name.partition("/")
    if slash and (version is not None or not number.isdecimal()):
        raise InvalidRequest("name the dataset as NAME, NAME/VERSION or NAME VERSION")
    chosen = number if slash else version
    return client.get(path_of("datasets", name, *(() if chosen is None else ("versions", chosen))))
