"""``heimdall datasets create|list|show``."""

from typing import Annotated, Literal

import typer

from heimdall_core.cli.client import Json, connect, path_of
from heimdall_core.cli.output import moment, say, show_json, show_rows

app = typer.Typer(help="Datasets: freeze, list, show.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Groups = Annotated[list[str] | None, typer.Option(help="With --strategy group; repeat for more.")]


@app.command()
def create(
    name: str,
    import_job: Annotated[
        list[str] | None, typer.Option(help="Only sessions of this import; repeat for more.")
    ] = None,
    strategy: Annotated[Literal["spatial_block", "group"], typer.Option()] = "spatial_block",
    block_km: Annotated[float, typer.Option(help="Side of a spatial block.")] = 20.0,
    test_fraction: float = 0.2,
    val_fraction: float = 0.2,
    test_group: Groups = None,
    val_group: Groups = None,
    seed: int = 0,
    as_json: JsonOption = False,
) -> None:
    """Freezes the approved sessions as a new version of a dataset."""
    split: Json = {"strategy": strategy, "seed": seed}
    if strategy == "group":
        split |= {"test_groups": test_group or [], "val_groups": val_group or []}
    else:
        split |= {"block_km": block_km, "test_fraction": test_fraction, "val_fraction": val_fraction}
    query: Json = {"import_job_ids": import_job} if import_job else {}
    with connect() as client:
        version = client.post("/v1/datasets", {"name": name, "query": query, "split": split})
    show_json(version) if as_json else say(describe(version))


def describe(version: Json) -> str:
    """A dataset version in one line."""
    counts = version["counts"]
    return (
        f"{version['name']} version {version['version']}: {counts['train']} training, {counts['val']} "
        f"validation, {counts['test']} test sessions of {len(version['receivers'])} receivers"
    )


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
                *(v["counts"][split] for split in ("train", "val", "test")),
                len(v["receivers"]),
                moment(v["created_at"]),
            )
            for v in versions
        ),
        empty="no dataset; `heimdall datasets create` freezes one",
    )


@app.command()
def show(name: str, version: int) -> None:
    """Shows one dataset version as JSON."""
    with connect() as client:
        show_json(client.get(path_of("datasets", name, "versions", version)))
