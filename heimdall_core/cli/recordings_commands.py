"""``heimdall recordings import|list|approve``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from heimdall_core.cli.client import ApiClient, Json, connect
from heimdall_core.cli.following import follow
from heimdall_core.cli.output import console, moment, say, show_json, show_rows
from heimdall_core.cli.uploading import LocalFile, find_files, import_files
from heimdall_core.domain.errors import InvalidRequest

app = typer.Typer(help="Recording sessions: import, list, approve.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MAX_REFUSALS_SHOWN = 20


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="SigMF files, archives or folders of them.")],
    approve: Annotated[bool, typer.Option("--approve", help="Approve what is accepted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Uploads recordings; the service validates and catalogues them."""
    with connect() as client:
        job = upload_and_import(client, find_files(paths), {"auto_approve": approve}, quiet=as_json)
    if as_json:
        show_json(job)


def upload_and_import(
    client: ApiClient, files: list[LocalFile], options: dict[str, object], *, quiet: bool = False
) -> Json:
    """Uploads, follows the import job to its end, tells its report; returns the job."""
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(f"uploading {len(files)} files", total=len(files))
        job = import_files(client, files, options=options, on_file=lambda: progress.advance(task))
    done = follow(client, job["id"], quiet=quiet)
    if not quiet:
        tell_report(done)
    return done


def tell_report(job: Json) -> None:
    """Prints what an import took, what it knew already, and what it refused and why."""
    report = job.get("result") or {}
    refused = report.get("refused") or []
    say(
        f"  {report.get('accepted', 0)} sessions accepted, {report.get('duplicates', 0)} known already, "
        f"{len(refused)} refused"
    )
    for entry in refused[:MAX_REFUSALS_SHOWN]:
        console.print(f"  refused {entry['name']}: {entry['message']} ({entry['code']})", markup=False)
        if entry.get("hint"):
            console.print(f"          {entry['hint']}", markup=False, style="dim")
    if len(refused) > MAX_REFUSALS_SHOWN:
        say(f"  and {len(refused) - MAX_REFUSALS_SHOWN} more; --json shows all")


@app.command("list")
def list_(
    import_job: Annotated[str | None, typer.Option(help="Only of this import job.")] = None,
    status: Annotated[str | None, typer.Option(help="pending, approved or rejected.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Lists recording sessions."""
    with connect() as client:
        sessions = list(
            client.pages(
                "/v1/recording-sessions", limit=limit, import_job_id=import_job, approval_status=status
            )
        )
    if as_json:
        show_json(sessions)
        return
    show_rows(
        ("id", "name", "source", "started", "status"),
        (
            (
                s["id"],
                s["name"],
                s["source"]["name"],
                moment(s["started_at"]),
                s["approval_status"],
            )
            for s in sessions
        ),
        empty="no recording session; `heimdall recordings import` brings some",
    )


@app.command("approve")
def approve_(
    ids: Annotated[list[str] | None, typer.Argument(help="Recording sessions.")] = None,
    import_job: Annotated[str | None, typer.Option(help="All of this import job.")] = None,
) -> None:
    """Approves sessions for training."""
    if bool(ids) == bool(import_job):
        raise InvalidRequest("name either sessions or --import-job")
    body: dict[str, object] = {"ids": ids} if ids else {"import_job_id": import_job}
    with connect() as client:
        answer = client.post("/v1/recording-sessions:approve", body)
    say(f"{answer['approved']} sessions approved")
