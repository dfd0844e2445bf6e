"""``heimdall jobs submit|list|show|watch|logs|cancel``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.following import describe, follow, phase_of
from heimdall_core.cli.output import console, moment, say, show_json, show_rows
from heimdall_core.domain.errors import InvalidRequest

app = typer.Typer(help="Jobs: submit, list, show, watch, logs, cancel.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def submit(
    dataset: Annotated[str | None, typer.Argument(help="Dataset, as NAME or NAME/VERSION.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the registered model.")] = None,
    backbone: Annotated[str | None, typer.Option(help="micro, atto, ... large.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    file: Annotated[Path | None, typer.Option(help="The whole request as JSON; - reads stdin.")] = None,
    idempotency_key: str | None = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submits a training job."""
    if (dataset is None) == (file is None):
        raise InvalidRequest("name either a dataset or --file")
    if file is not None:
        body = _read_body(file)
    else:
        assert dataset is not None
        body = {"kind": "train", "dataset": _dataset_reference(dataset)}
    _put(body, "model", name=model, backbone=backbone)
    _put(body, "training", epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    if priority:
        body["priority"] = priority
    with connect() as client:
        job = client.post("/v1/jobs", body, key=idempotency_key)
        if not as_json:
            say(f"job [bold]{job['id']}[/] {job['status']}")
        if watch:
            job = follow(client, job["id"])
    if as_json:
        show_json(job)


def _read_body(file: Path) -> Json:
    try:
        body = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"cannot read {file}: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"{file} holds no JSON object")
    return body


def _dataset_reference(text: str) -> Json:
    name, slash, version = text.partition("/")
    if slash and not version.isdecimal():
        raise InvalidRequest(f"{text!r} is not NAME or NAME/VERSION")
    return {"name": name} | ({"version": int(version)} if slash else {})


def _put(body: Json, group: str, **values: object) -> None:
    """Sets members of a nested object; what is None is left to the service."""
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        body[group] = {**(body.get(group) or {}), **given}


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, ...")] = None,
    kind: Annotated[str | None, typer.Option(help="train or import.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Lists jobs, newest first."""
    with connect() as client:
        jobs = list(client.pages("/v1/jobs", limit=limit, status=status, kind=kind))
    if as_json:
        show_json(jobs)
        return
    show_rows(
        ("id", "kind", "state", "created", ""),
        ((j["id"], j["kind"], phase_of(j), moment(j["created_at"]), _remark(j)) for j in jobs),
        empty="no job",
    )


def _remark(job: Json) -> str:
    error = job.get("error")
    return str(error["message"])[:80] if error else describe(job)


@app.command()
def show(job_id: str) -> None:
    """Shows a job as JSON."""
    with connect() as client:
        show_json(client.get(path_of("jobs", job_id)))


@app.command()
def watch(job_id: str) -> None:
    """Follows a job to its end."""
    with connect() as client:
        follow(client, job_id)
        say("succeeded")


@app.command()
def logs(
    job_id: str, attempt: Annotated[int | None, typer.Option(help="Default: the newest.")] = None
) -> None:
    """Prints what a job wrote."""
    with connect() as client:
        for text in _log_texts(client, job_id, attempt):
            console.print(text, markup=False, end="")


def _log_texts(client: ApiClient, job_id: str, attempt: int | None) -> list[str]:
    texts: list[str] = []
    after = 0
    while (page := client.get(path_of("jobs", job_id, "logs"), attempt=attempt, after=after))["content"]:
        texts.append(page["content"])
        after = page["next_after"]
    return texts


@app.command()
def cancel(job_id: str) -> None:
    """Asks a job to end."""
    with connect() as client:
        job = client.post(path_of("jobs", job_id) + ":cancel")
    say(f"job {job['id']} {'is being cancelled' if job['status'] == 'running' else job['status']}")
