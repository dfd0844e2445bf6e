"""``heimdall models``: list, show, download, and which version is to be used."""

import hashlib
from pathlib import Path
from typing import Annotated

import httpx
import typer

from heimdall_core.cli.client import ApiClient, Json, connect, is_local, path_of
from heimdall_core.cli.completion import model_names
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.cli.model_promotion import compare, events, promote, rollback
from heimdall_core.cli.model_retraining import retrain
from heimdall_core.cli.model_summary import show_version
from heimdall_core.cli.output import metres, moment, say, show_json, show_rows, size
from heimdall_core.domain.errors import DataError, HeimdallError, InvalidRequest

app = typer.Typer(
    help="Registered models: list, show, download, compare, promote, roll back, train again.",
    no_args_is_help=True,
)
app.command()(promote)
app.command()(rollback)
app.command()(compare)
app.command()(events)
app.command()(retrain)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelArgument = Annotated[
    str, typer.Argument(help="NAME or NAME/VERSION; of a name its champion.", autocompletion=model_names)
]


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(help="Versions of this model.", autocompletion=model_names)
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Lists registered models, or the versions of one."""
    with connect() as client:
        found = list(client.pages(path_of("models", name, "versions") if name else "/v1/models", limit=limit))
    if as_json:
        show_json(found)
    elif name:
        _show_versions(found)
    else:
        _show_models(found)


def _show_models(models: list[Json]) -> None:
    show_rows(
        ("name", "champion", "previous", "updated"),
        (
            (m["name"], m["champion_version"], m.get("previous_version"), moment(m["updated_at"]))
            for m in models
        ),
        empty="no model; a training job registers one",
    )


def _show_versions(versions: list[Json]) -> None:
    show_rows(
        ("name", "version", "aliases", "median error", "created"),
        (
            (
                v["name"],
                v["version"],
                ", ".join(v["aliases"]) or None,
                metres(v["metrics"].get("median_error_m")),
                moment(v["created_at"]),
            )
            for v in versions
        ),
        empty="no version",
    )


@app.command()
def show(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Shows a model version: its metrics, lineage, verification, receivers and files."""
    with connect() as client:
        version = find_version(client, model)
    if as_json:
        show_json(version)
    else:
        show_version(version)


@app.command()
def download(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", "--to", help="File or folder.", show_default="NAME-VERSION.onnx"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Downloads a version's ONNX file and checks its sha256."""
    with connect() as client:
        version = find_version(client, model)
    name, onnx = f"{version['name']}-{version['version']}.onnx", version["onnx"]
    target = Path(name) if output is None else output / name if output.is_dir() else output
    download_checked(onnx["download_url"], target, sha256=onnx["sha256"])
    num_bytes = target.stat().st_size
    if as_json:
        show_json({"file": str(target), "bytes": num_bytes, "sha256": onnx["sha256"]})
    else:
        say(f"{target}  {size(num_bytes)}  sha256 {onnx['sha256']}")


def find_version(client: ApiClient, model: str) -> Json:
    """The version that ``NAME/VERSION`` names; of a bare name its champion, else its newest."""
    name, slash, number = model.partition("/")
    if slash:
        if not number.isdecimal():
            raise InvalidRequest(f"{model!r} is not NAME or NAME/VERSION")
        return client.get(path_of("models", name, "versions", number))
    versions = list(client.pages(path_of("models", name, "versions")))
    if not versions:
        raise InvalidRequest(f"model {name!r} has no version")
    return next((v for v in versions if "champion" in v["aliases"]), versions[0])


def download_checked(url: str, target: Path, *, sha256: str) -> None:
    """Downloads to a file, whole or not at all.

    Raises:
        DataError: the bytes are not those that the service registered.
        ServerUnreachable: the object store does not answer.
    """
    _make_folder(target)
    unfinished = target.with_name(f".{target.name}.part")
    digest = hashlib.sha256()
    try:
        with (
            httpx.stream("GET", url, timeout=60, trust_env=not is_local(url)) as answer,
            unfinished.open("wb") as file,
        ):
            answer.raise_for_status()
            for part in answer.iter_bytes():
                digest.update(part)
                file.write(part)
    except httpx.HTTPError as error:
        unfinished.unlink(missing_ok=True)
        raise _not_downloaded(target, error) from error
    if digest.hexdigest() != sha256:
        unfinished.unlink()
        raise DataError(f"{target.name} is damaged: its sha256 is not {sha256}", code="object_changed")
    unfinished.replace(target)


def _make_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"cannot write {target}: {error.strerror}") from error


def _not_downloaded(target: Path, error: httpx.HTTPError) -> HeimdallError:
    """A refusal by the object store, or its silence."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return DataError(f"cannot download {target.name}: the object store answers HTTP {status}")
    return ServerUnreachable(
        f"cannot download {target.name}: {error}", hint="`heimdall doctor` checks the object store"
    )
