"""``heimdall recordings import|list|approve|reject``."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from rich.progress import Progress

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.following import follow
from heimdall_core.cli.output import console, errors, member, moment, say, show_json, show_rows
from heimdall_core.cli.resuming import resume_upload
from heimdall_core.cli.uploading import LocalFile, find_files, import_files
from heimdall_core.domain.errors import InvalidRequest

app = typer.Typer(help="Recording sessions: import, list, show, approve, reject.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AfterOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Sessions that began then or later, e.g. 2025-09-01T08:00Z."),
]
BeforeOption = Annotated[str | None, typer.Option(metavar="TIME", help="Sessions that began earlier.")]
MAX_REFUSALS_SHOWN = 20


@app.command("import")
def import_(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Recordings, archives, tables, or folders of them.")
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Approve what is accepted.")] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="UPLOAD", help="Go on with an upload that broke: its id.")
    ] = None,
    platform: Annotated[
        bool, typer.Option("--platform", help="Take over what the Heimdall platform recorded.")
    ] = False,
    session: Annotated[
        list[str] | None, typer.Option(help="With --platform: only this session; may be repeated.")
    ] = None,
    started_after: AfterOption = None,
    started_before: BeforeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Uploads recordings, or takes over the platform's; the service validates and catalogues them."""
    of_platform: dict[str, object] = {
        "session_ids": session or None,
        "started_after": started_after,
        "started_before": started_before,
    }
    _check_import(paths, platform=platform, options={"approve": approve, "resume": resume}, asked=of_platform)
    with connect() as client:
        if platform:
            job = import_platform(client, of_platform, quiet=as_json)
        else:
            files = find_files(paths or [], on_ignored=_tell_ignored)
            job = upload_and_import(
                client, files, {"auto_approve": approve}, paths=paths or (), resume=resume, quiet=as_json
            )
    if as_json:
        show_json(job)


def _check_import(
    paths: Sequence[Path] | None, *, platform: bool, options: dict[str, object], asked: dict[str, object]
) -> None:
    if platform == bool(paths):
        raise InvalidRequest("name either paths or --platform")
    wrong = options if platform else asked
    if given := [name for name, value in wrong.items() if value]:
        option = "--" + ("session" if given[0] == "session_ids" else given[0].replace("_", "-"))
        if platform:
            hint = "`heimdall recordings approve --import-job ID` approves what was taken over"
            raise InvalidRequest(f"{option} does not go with --platform", hint=hint)
        raise InvalidRequest(f"{option} goes with --platform alone")


def _tell_ignored(num_files: int) -> None:
    errors.print(f"  {num_files} other files in these folders are no recordings", style="dim")


def import_platform(client: ApiClient, asked: dict[str, object], *, quiet: bool = False) -> Json:
    """Starts taking over the platform's sessions, follows the job to its end, tells its report."""
    job = client.post("/v1/recording-sessions:import", asked, key=str(uuid4()))
    return _followed(client, job, quiet=quiet)


def upload_and_import(
    client: ApiClient,
    files: list[LocalFile],
    options: dict[str, object],
    *,
    paths: Sequence[Path] = (),
    resume: str | None = None,
    quiet: bool = False,
) -> Json:
    """Uploads, follows the import job to its end, tells its report; returns the job.

    Args:
        client: the API.
        files: what to upload.
        options: how to import it.
        paths: where a person named the files, for the command that goes on with a broken upload.
        resume: the upload to go on with; None: a new one.
        quiet: whether to show nothing.
    """
    uploads: list[str] = []
    with (
        _told_how_to_resume(uploads, paths, options),
        Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress,
    ):
        task = progress.add_task(f"uploading {len(files)} files", total=len(files))
        send = partial(resume_upload, client, resume) if resume else partial(import_files, client)
        job = send(files, options=options, on_start=uploads.append, on_file=lambda: progress.advance(task))
    return _followed(client, job, quiet=quiet)


def _followed(client: ApiClient, job: Json, *, quiet: bool) -> Json:
    done = follow(client, job["id"], quiet=quiet)
    if not quiet:
        tell_report(done)
    return done


@contextmanager
def _told_how_to_resume(
    uploads: Sequence[str], paths: Sequence[Path], options: dict[str, object]
) -> Iterator[None]:
    """Prints the command that goes on, if an upload that has begun breaks for whatever reason."""
    try:
        yield
    except BaseException:
        if uploads and paths:
            named = [shlex.quote(str(path)) for path in paths]
            flags = ["--approve"] if options.get("auto_approve") else []
            command = ["heimdall", "recordings", "import", *named, "--resume", uploads[0], *flags]
            errors.print("What was sent is kept; this goes on with the upload:")
            errors.print("  " + " ".join(command), markup=False)
        raise


def tell_report(job: Json) -> None:
    """Prints what an import took, what it knew already, and what it refused and why."""
    report = job.get("result") or {}
    refused = report.get("refused") or []
    num_refused = report.get("refused_count", len(refused))
    say(
        f"  {report.get('accepted', 0)} sessions accepted, {report.get('duplicates', 0)} known already, "
        f"{num_refused} refused"
    )
    for entry in refused[:MAX_REFUSALS_SHOWN]:
        _tell(f"refused {entry['name']}: {entry['message']} ({entry['code']})", entry.get("hint"))
    if num_refused > MAX_REFUSALS_SHOWN:
        say(
            f"  and {num_refused - MAX_REFUSALS_SHOWN} more; "
            "the artifact import-report.json of the job has a line for every file"
        )
    for warning in report.get("warnings") or ():
        _tell(f"note: {warning['message']} ({warning['code']})", warning.get("hint"))
    say(f"  import job {job['id']}")


def _tell(line: str, hint: str | None) -> None:
    console.print(f"  {line}", markup=False)
    if hint:
        console.print(f"          {hint}", markup=False, style="dim")


@app.command("list")
def list_(
    import_job: Annotated[str | None, typer.Option(help="Only of this import job.")] = None,
    status: Annotated[str | None, typer.Option(help="pending, approved or rejected.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this known source: its name.")] = None,
    flag: Annotated[
        str | None, typer.Option(help="Only what needs a look: weak_signal, few_receivers, ...")
    ] = None,
    started_after: AfterOption = None,
    started_before: BeforeOption = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Lists recording sessions."""
    with connect() as client:
        sessions = list(
            client.pages(
                "/v1/recording-sessions",
                limit=limit + 1,
                import_job_id=import_job,
                approval_status=status,
                source=source,
                flag=flag,
                started_after=started_after,
                started_before=started_before,
            )
        )
    sessions, more = sessions[:limit], len(sessions) > limit
    if as_json:
        show_json(sessions)
        return
    show_rows(
        ("id", "name", "source", "started", "receivers", "status"),
        (
            (
                s["id"],
                s["name"],
                member(s, "source", "name"),
                moment(s["started_at"]),
                s["num_recordings"],
                s["approval_status"],
            )
            for s in sessions
        ),
        empty="no recording session matches; `heimdall recordings import` brings some",
    )
    if more:
        say(f"[dim]the first {limit}; --limit shows more[/]")


@app.command("approve")
def approve_(
    ids: Annotated[list[str] | None, typer.Argument(help="Recording sessions.")] = None,
    import_job: Annotated[str | None, typer.Option(help="All of this import job.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Approves sessions for training."""
    if bool(ids) == bool(import_job):
        raise InvalidRequest("name either sessions or --import-job")
    body: dict[str, object] = {"ids": ids} if ids else {"import_job_id": import_job}
    with connect() as client:
        answer = client.post("/v1/recording-sessions:approve", body)
    if as_json:
        show_json(answer)
    else:
        say(f"{answer['approved']} sessions approved")


@app.command()
def reject(
    ids: Annotated[list[str], typer.Argument(help="Recording sessions.")], as_json: JsonOption = False
) -> None:
    """Keeps sessions out of the datasets that are frozen from now on."""
    with connect() as client:
        rejected = [
            client.patch(path_of("recording-sessions", identifier), {"approval_status": "rejected"})
            for identifier in ids
        ]
    if as_json:
        show_json(rejected)
    else:
        say(f"{len(rejected)} sessions rejected")
