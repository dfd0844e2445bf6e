"""``heimdall jobs``: what there is, what it did, and what is asked of it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.completion import JobArgument
from heimdall_core.cli.downloading import download_file
from heimdall_core.cli.following import describe, follow, phase_of
from heimdall_core.cli.jobs_submitting import evaluate, export, submit, tell_result
from heimdall_core.cli.models_commands import download_checked
from heimdall_core.cli.output import console, moment, say, show_json, show_rows, size
from heimdall_core.cli.residuals_report import MOST_ROWS, show_residuals, show_suspects
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.job import JobKind, JobStatus

app = typer.Typer(help="Jobs: submit, export, evaluate, follow, cancel.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app.command()(submit)
app.command()(export)
app.command()(evaluate)


@app.command("list")
def list_(
    status: Annotated[JobStatus | None, typer.Option(help="Only these.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only these.")] = None,
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
def show(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Shows a job: state, specification, attempts, result."""
    with connect() as client:
        job = client.get(path_of("jobs", job_id))
    if as_json:
        show_json(job)
        return
    for name, value in _facts(job):
        console.print(f"{name:<13} {value}", markup=False)
    if job.get("result"):
        tell_result(job)


def _facts(job: Json) -> list[tuple[str, object]]:
    error = job.get("error") or {}
    facts = [
        ("job", f"{job['id']} ({job['kind']}, {job['priority']} priority, by {job['created_by']})"),
        ("state", f"{phase_of(job)}  {describe(job)}".rstrip()),
        ("created", moment(job["created_at"])),
        ("started", moment(job["started_at"])),
        ("finished", moment(job["finished_at"])),
        ("error", f"{error['message']} ({error['code']})" if error else None),
        ("what to do", error.get("hint")),
        ("tags", ", ".join(f"{k}={v}" for k, v in job["tags"].items()) or None),
        *(("attempt", _attempt_line(attempt)) for attempt in job["attempts"]),
        ("specification", json.dumps(job["spec"])),
    ]
    return [(name, value) for name, value in facts if value not in (None, "-")]


def _attempt_line(attempt: Json) -> str:
    error = (attempt.get("error") or {}).get("message")
    outcome = attempt["outcome"] or "running"
    began = moment(attempt["started_at"])
    return f"{attempt['number']} on {attempt['worker']}, {began}: {outcome}" + (
        f" ({error})" if error else ""
    )


@app.command()
def checkpoints(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Lists a training's durable checkpoints; each can be exported."""
    with connect() as client:
        found = client.get(path_of("jobs", job_id, "checkpoints"))["data"]
    if as_json:
        show_json(found)
        return
    show_rows(
        ("id", "epochs", "step", "size", "created"),
        ((c["id"], c["epoch"], c["step"], size(c["bytes"]), moment(c["created_at"])) for c in found),
        empty="no durable checkpoint",
    )


@app.command()
def files(
    job_id: JobArgument,
    to: Annotated[Path | None, typer.Option(help="Download them into this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Lists the files that a job hands out: model, report, pictures; with --to downloads them."""
    with connect() as client:
        found = client.get(path_of("jobs", job_id, "artifacts"))["data"]
        if to is not None:
            for file in found:
                download_file(client, file, to)
    if as_json:
        show_json(found)
        return
    show_rows(
        ("name", "kind", "size", "sha256"),
        ((f["name"], f["kind"], size(f["bytes"]), f["sha256"][:16]) for f in found),
        empty="no file yet: a job hands them out when it has succeeded",
    )
    if to is not None and found:
        say(f"{len(found)} files in {to}, each as its SHA-256 says")


@app.command()
def download(
    job_id: JobArgument,
    names: Annotated[list[str] | None, typer.Argument(help="Files of the job; default: all.")] = None,
    to: Annotated[Path, typer.Option(help="Folder to write them into.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Downloads a job's files, each checked against its SHA-256; goes on where a download broke off."""
    with connect() as client:
        found = client.get(path_of("jobs", job_id, "artifacts"))["data"]
        paths = [download_file(client, file, to) for file in _chosen(found, job_id, names or [])]
    if as_json:
        show_json([str(path) for path in paths])
        return
    for path in paths:
        console.print(f"{path}  {size(path.stat().st_size)}", markup=False)


def _chosen(files: list[Json], job_id: str, names: list[str]) -> list[Json]:
    """Raises InvalidRequest if the job has none, or none of a name."""
    known = {file["name"]: file for file in files}
    if unknown := [name for name in names if name not in known] or ([] if known else ["any file"]):
        listed = ", ".join(known) or "none: a job hands them out when it has succeeded"
        raise InvalidRequest(f"job {job_id} has not {', '.join(unknown)}", hint=f"its files: {listed}")
    return [known[name] for name in names or known]


@app.command()
def residuals(
    job_id: JobArgument,
    suspects: Annotated[
        bool,
        typer.Option("--suspects", help="Only sessions with improbable labels, the least probable first."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1)] = MOST_ROWS,
    as_json: JsonOption = False,
) -> None:
    """Shows the error of each session that a training or an evaluation predicted, and suspected mislabels."""
    with connect() as client:
        found = _read_residuals(client, job_id)
    if as_json:
        show_json(found["suspects"] if suspects else found)
    elif suspects:
        show_suspects(found, limit=limit)
    else:
        show_residuals(found, limit=limit)


def _read_residuals(client: ApiClient, job_id: str) -> Json:
    """The job's residuals.json, checked against its SHA-256."""
    files = client.get(path_of("jobs", job_id, "artifacts"))["data"]
    file = next((file for file in files if file["name"] == "residuals.json"), None)
    if file is None:
        raise InvalidRequest(
            f"job {job_id} has no residuals.json",
            hint="trainings, exports and evaluations have one when they have succeeded",
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "residuals.json"
        download_checked(file["download_url"], path, sha256=file["sha256"])
        found: Json = json.loads(path.read_bytes())
    return found


@app.command()
def watch(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Follows a job to its end."""
    with connect() as client:
        job = follow(client, job_id, quiet=as_json)
    if as_json:
        show_json(job)
        return
    say("succeeded")
    tell_result(job)


@app.command()
def logs(
    job_id: JobArgument,
    attempt: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Prints what a job wrote."""
    with connect() as client:
        log = _whole_log(client, job_id, attempt)
    if as_json:
        show_json({"job_id": job_id, **log})
    else:
        console.print(log["content"], markup=False, end="")


def _whole_log(client: ApiClient, job_id: str, attempt: int | None) -> Json:
    """What one attempt wrote, and its number."""
    page = client.get(path_of("jobs", job_id, "logs"), attempt=attempt)
    number, texts = page["attempt"], [page["content"]]
    while page["content"]:
        page = client.get(path_of("jobs", job_id, "logs"), attempt=number, after=page["next_after"])
        texts.append(page["content"])
    return {"attempt": number, "content": "".join(texts)}


@app.command()
def pause(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Checkpoints a running job and frees its accelerator; `resume` goes on."""
    _ask(job_id, "pause", as_json=as_json)


@app.command()
def resume(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Queues a paused job again."""
    _ask(job_id, "resume", as_json=as_json)


@app.command()
def finish(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Ends a training now and keeps its best epoch: evaluated, exported, registered."""
    _ask(job_id, "finish", as_json=as_json)


@app.command()
def retry(
    job_id: JobArgument,
    from_checkpoint: Annotated[
        bool, typer.Option("--from-checkpoint", help="Go on from its newest durable checkpoint.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Queues a new job of the specification of an ended one."""
    with connect() as client:
        job = client.post(path_of("jobs", job_id) + ":retry", {"from_checkpoint": from_checkpoint})
    _tell_state(job, as_json=as_json)


def _ask(job_id: str, verb: str, *, as_json: bool) -> None:
    with connect() as client:
        job = client.post(path_of("jobs", job_id) + f":{verb}")
    _tell_state(job, as_json=as_json)


def _tell_state(job: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(job)
        return
    asked = [verb for verb in ("cancel", "pause", "finish") if job.get(f"{verb}_requested_at")]
    is_asked = f", asked to {asked[0]}" if asked and not job["is_terminal"] else ""
    say(f"job {job['id']} {job['status']}{is_asked}")


@app.command()
def cancel(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Asks a job to end."""
    _ask(job_id, "cancel", as_json=as_json)
