"""``heimdall workers list|drain|undrain``."""

import time
from typing import Annotated

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.output import moment, say, show_json, show_rows
from heimdall_core.domain.errors import NotFound

app = typer.Typer(help="Workers: list, keep from new jobs.", no_args_is_help=True)

POLL_SECONDS = 1.0
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WorkerArgument = Annotated[str, typer.Argument(help="As `heimdall workers list` shows it.")]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Lists the hosts that run jobs, and what they run."""
    with connect() as client:
        workers = client.get("/v1/workers")["data"]
    if as_json:
        show_json(workers)
        return
    show_rows(
        ("name", "state", "slots", "accelerator", "kinds", "running", "last seen"),
        (
            (
                w["name"],
                state_of(w),
                f"{w['slots']}+{w['light_slots']}",
                w["accelerator"],
                "all" if w["kinds"] is None else ", ".join(w["kinds"]),
                "\n".join(w["running_job_ids"]) or None,
                moment(w["last_seen_at"]),
            )
            for w in workers
        ),
        empty="no worker has ever been seen",
    )


def state_of(worker: Json) -> str:
    """Whether it lives, and whether it takes jobs, in a word or two."""
    if not worker["is_alive"]:
        return "silent"
    if not worker["draining"]:
        return "takes jobs"
    return "draining" if worker["running_job_ids"] else "drained"


@app.command()
def drain(
    name: WorkerArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing runs on it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Keeps a worker from new jobs; it ends what it runs. Then its host can be shut down."""
    with connect() as client:
        worker = _ask(client, name, "drain")
        while wait and worker["running_job_ids"]:
            time.sleep(POLL_SECONDS)
            worker = _find(client.get("/v1/workers"), name)
    if as_json:
        show_json(worker)
        return
    running = len(worker["running_job_ids"])
    say(f"{name} takes no new job; " + (f"{running} still running" if running else "nothing runs on it"))


@app.command()
def undrain(name: WorkerArgument, as_json: JsonOption = False) -> None:
    """Lets a drained worker take jobs again."""
    with connect() as client:
        worker = _ask(client, name, "undrain")
    show_json(worker) if as_json else say(f"{name} takes jobs again")


def _ask(client: ApiClient, name: str, action: str) -> Json:
    return _find(client.post(f"{path_of('workers', name)}:{action}"), name)


def _find(workers: Json, name: str) -> Json:
    found = next((worker for worker in workers["data"] if worker["name"] == name), None)
    if found is None:
        raise NotFound(f"no worker {name!r}", hint="`heimdall workers list` shows them")
    assert isinstance(found, dict)
    return found
